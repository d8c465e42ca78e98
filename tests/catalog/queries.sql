SELECT id, tenant_id, name, owner, size, amount, slug, n, must, low, at FROM apps
SELECT DISTINCT * FROM apps
SELECT DISTINCT * FROM kind_list
SELECT sum(size) / count(*) FROM apps WHERE owner = 'ann'
INSERT INTO apps (tenant_id, name, owner) VALUES (1, repeat('n', 50), 'cid')
INSERT INTO apps (tenant_id, name, owner, size) VALUES (1, 'huge', 'ann', 2000000000)
INSERT INTO apps (tenant_id, name, amount) VALUES (1, 'rich', 999999.99)
INSERT INTO apps (tenant_id, name, ref) VALUES (1, 'orphan', 777)
INSERT INTO apps (id, tenant_id, name, owner) VALUES (9000, 1, 'given', NULL) RETURNING *
INSERT INTO apps (tenant_id, name, slug) VALUES (1, 'web', 'web') ON CONFLICT (slug) DO UPDATE SET name = excluded.name
UPDATE apps SET owner = NULL, n = 29999, note = '' WHERE name = 'web'
DELETE FROM apps WHERE name = 'api'
INSERT INTO tenants (name) VALUES ('third') ON CONFLICT (name) DO NOTHING
INSERT INTO tenants (name) VALUES ('acme') ON CONFLICT ON CONSTRAINT tenants_name_key DO UPDATE SET plan = 'paid'
DELETE FROM tenants WHERE name = 'bare'
INSERT INTO users (tenant_id, em) VALUES (1, 'c@x')
INSERT INTO users (id, tenant_id, mail) VALUES (70, 1, 'plain@host')
INSERT INTO users (tenant_id, em, points) VALUES (1, 'a@x', -5) ON CONFLICT ON CONSTRAINT users_em_key DO NOTHING
INSERT INTO users (tenant_id, points, st) VALUES (2, NULL, 'ready'), (2, -1, 'gone')
SELECT id, st::text, 'ready'::status, mail::email, (home).street FROM users WHERE st = 'new'
SELECT ROW('s', 'c')::address
DELETE FROM users WHERE em = 'b@x'
SELECT id, owner FROM owners
INSERT INTO kind_list (code, title) VALUES ('k', NULL)
INSERT INTO kinds VALUES ('k', 'again'), ('k', NULL)
INSERT INTO apps (tenant_id, name) VALUES (1, 'same'), (1, 'same')
SELECT apps FROM totals WHERE tenant_id = 1
SELECT twice(2), twice(2, 3), safe()
SELECT nextval('numbers'), nextval('tenants_id_seq')
INSERT INTO events VALUES (3, '2025-06-06', 'z')
INSERT INTO events_2025 VALUES (4, '2025-06-07', 'z')
SELECT count(*) FROM events
INSERT INTO app.jobs (what) VALUES ('go')
INSERT INTO child VALUES (3)
SELECT count(*) FROM parent
SELECT similarity('a', 'b')
