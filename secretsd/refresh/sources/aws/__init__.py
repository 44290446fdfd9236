"""Sources of AWS: Secrets Manager and the Parameter Store."""
