"""Classifiers of levels: stem, encoded model, and the twins whose gradient an attack can climb."""
