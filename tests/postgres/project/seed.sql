-- A few rows for the tables as they are at 007_audit_events_and_call_logs: what backfills later find.
INSERT INTO tenants (name, slug) VALUES ('One', 'one'), ('Two', 'two');
INSERT INTO apps (tenant_id, name, legacy_token) VALUES (1, 'shop', 'old'), (1, 'till', NULL), (2, 'shop', NULL);
INSERT INTO gateways (name, address, status) VALUES ('eu-west-gw1', '10.0.0.1', 'ready'), ('eu-east-gw1', '', 'pending');
INSERT INTO subscriptions (app_id, gateway_id, active) VALUES (1, 1, true), (2, 1, false), (3, 2, true);
INSERT INTO audit.events (what) VALUES ('installed');
INSERT INTO call_logs (gateway_id, path) VALUES (1, '/hello');
