"""MERGE of 017 and 019."""

revision = "020_merge_billing_and_keys"
down_revision = ("017_invoices_of_tenants_by_month", "019_scopes_of_api_keys_as_an_array_of_text")
branch_labels = None
depends_on = None


def upgrade():
    pass


def downgrade():
    pass
