"""Networks whose weights others have published, in the layout of their files: built, read and classified with."""
