"""Old names of modules that models logged to MLflow before still ask for."""
