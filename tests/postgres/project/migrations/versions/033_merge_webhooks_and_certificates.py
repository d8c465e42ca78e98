"""MERGE of 029 and 032.

The head of version 1 in tests: what comes after is what version 2 brings.
"""

revision = "033_merge_webhooks_and_certificates"
down_revision = ("029_deliveries_of_webhooks_and_their_retries", "032_warnings_of_certificates_by_webhook")
branch_labels = None
depends_on = None


def upgrade():
    pass


def downgrade():
    pass
