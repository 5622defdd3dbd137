"""The commands ``train.py`` and ``evaluate.py``. Bad input is answered before torch is imported."""
