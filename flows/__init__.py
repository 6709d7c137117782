"""What is scheduled and run by people: Prefect flows and the command line."""
