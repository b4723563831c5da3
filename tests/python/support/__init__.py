"""What the tests share: clients, servers, load generators and fault injection."""
