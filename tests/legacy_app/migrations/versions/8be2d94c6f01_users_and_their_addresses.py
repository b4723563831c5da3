"""Users and their addresses."""

import sqlalchemy as sa
from alembic import op

revision = "8be2d94c6f01"
down_revision = "3f1c0a7d52b8"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Creates users, and adds the delivery address to orders."""
    op.create_table(
        "order_user",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("email", sa.String(150), nullable=False),
        sa.Column("contact", sa.String(15), nullable=False),
        sa.Column("address", sa.String(255), nullable=False),
    )
    op.add_column("orders", sa.Column("address", sa.String(255), nullable=True))


def downgrade() -> None:
    """Drops them."""
    op.drop_column("orders", "address")
    op.drop_table("order_user")
