"""`python -m order_engine` is the `order-engine` command."""

from order_engine.cli import main

if __name__ == "__main__":
    main()
