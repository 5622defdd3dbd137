"""The paper's tables and figures, filled by runs and set beside what was published."""
