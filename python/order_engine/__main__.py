"""Run the `order-engine` command with `python -m order_engine`."""

from order_engine.cli import main

if __name__ == "__main__":
    main()
