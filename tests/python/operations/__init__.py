"""The command line, metrics, health checks, deployment files and deployments."""
