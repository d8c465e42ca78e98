//! The questions to the system catalogs. Each gives rows with `kind`, `key`, `parent`, `name`, facts, and links (`@...`).
//!
//! Keys are a letter for the system catalog and the OID in it. `{own:x}` says that the object `x.oid` of the catalog before
//! it belongs to no extension; `{users}` that the schema `n` is none of PostgreSQL's; `{since N: ...}` is asked from that
//! major version on.

/// So that names come with their schema and values are written in one way, whatever the session has set. Several statements
/// in one message are one transaction, at whose end this is undone.
const SETTINGS: &str = "SET LOCAL search_path = pg_catalog; SET LOCAL DateStyle = 'ISO, MDY'; \
    SET LOCAL IntervalStyle = 'postgres'; SET LOCAL TimeZone = 'UTC'; SET LOCAL bytea_output = 'hex'; \
    SET LOCAL quote_all_identifiers = off;";

const SCHEMAS: &str = "SELECT 'schema' AS kind, 'n' || n.oid AS key, quote_ident(n.nspname) AS name,
    pg_get_userbyid(n.nspowner) AS owner
    FROM pg_namespace n WHERE {users} AND {own:pg_namespace n};";

const RELATIONS: &str = "SELECT CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'S' THEN 'sequence'
      WHEN 'c' THEN 'composite type' ELSE 'table' END AS kind,
    'c' || c.oid AS key, 'n' || n.oid AS parent, quote_ident(c.relname) AS name, pg_get_userbyid(c.relowner) AS owner,
    CASE c.relkind WHEN 'f' THEN 'foreign' WHEN 'p' THEN 'partitioned' WHEN 'r' THEN 'plain' END AS form,
    c.relpersistence AS persistence, c.relrowsecurity AS rls, c.relforcerowsecurity AS \"rls forced\",
    CASE c.relreplident WHEN 'i' THEN (SELECT 'index ' || quote_ident(ic.relname) FROM pg_index i
      JOIN pg_class ic ON ic.oid = i.indexrelid WHERE i.indrelid = c.oid AND i.indisreplident)
      ELSE c.relreplident::text END AS \"replica identity\",
    parents.names AS parents, parents.keys AS \"@parents\", pg_get_expr(c.relpartbound, c.oid) AS bound,
    CASE WHEN c.relkind = 'p' THEN pg_get_partkeydef(c.oid) END AS \"partition key\",
    (SELECT string_agg(o, ', ' ORDER BY o) FROM unnest(c.reloptions) o) AS options,
    CASE WHEN c.relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid) END AS definition,
    CASE WHEN c.relkind = 'v' THEN pg_relation_is_updatable(c.oid, true) END AS writes,
    CASE WHEN c.relkind = 'm' THEN c.relispopulated END AS \"@populated\",
    (SELECT fs.srvname || ' ' || COALESCE(array_to_string(ft.ftoptions, ', '), '') FROM pg_foreign_table ft
      JOIN pg_foreign_server fs ON fs.oid = ft.ftserver WHERE ft.ftrelid = c.oid) AS server,
    CASE WHEN c.reloftype <> 0 THEN format_type(c.reloftype, NULL) END AS \"of type\",
    format_type(s.seqtypid, NULL) AS type, s.seqstart AS start, s.seqincrement AS increment, s.seqmax AS max, s.seqmin AS min,
    s.seqcache AS cache, s.seqcycle AS cycle, owned.column AS \"owned by\", owned.key AS \"@owned\", owned.type AS \"@how\",
    CASE WHEN s.seqrelid IS NULL THEN NULL WHEN has_sequence_privilege(c.oid, 'SELECT, USAGE')
      THEN pg_sequence_last_value(c.oid) END AS \"@last\"
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_sequence s ON s.seqrelid = c.oid
    LEFT JOIN LATERAL (SELECT string_agg(h.inhparent::regclass::text, ', ' ORDER BY h.inhseqno) AS names,
      string_agg('c' || h.inhparent, ',' ORDER BY h.inhseqno) AS keys FROM pg_inherits h WHERE h.inhrelid = c.oid) parents
      ON true
    LEFT JOIN LATERAL (SELECT d.refobjid::regclass || '.' || quote_ident(a.attname) AS column,
      'c' || d.refobjid || '.' || d.refobjsubid AS key, d.deptype AS type FROM pg_depend d
      JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
      WHERE c.relkind = 'S' AND d.classid = 'pg_class'::regclass AND d.objid = c.oid
      AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i') LIMIT 1) owned ON true
    WHERE c.relkind IN ('r', 'p', 'f', 'v', 'm', 'S', 'c') AND {users} AND {own:pg_class c};";

const COLUMNS: &str = "SELECT 'column' AS kind, 'c' || c.oid || '.' || a.attnum AS key, 'c' || c.oid AS parent,
    quote_ident(a.attname) AS name, format_type(a.atttypid, a.atttypmod) AS type,
    CASE WHEN t.typtype = 'd' THEN format_type(t.typbasetype, t.typtypmod) END AS \"base type\",
    CASE WHEN a.attcollation <> t.typcollation THEN (SELECT quote_ident(cn.nspname) || '.' || quote_ident(co.collname)
      FROM pg_collation co JOIN pg_namespace cn ON cn.oid = co.collnamespace WHERE co.oid = a.attcollation) END AS collation,
    a.attnotnull AS \"not null\", pg_get_expr(d.adbin, d.adrelid) AS default,
    NULLIF(a.attgenerated::text, '') AS generated, NULLIF(a.attidentity::text, '') AS identity,
    't' || a.atttypid AS \"@type\", t.typtype = 'd' AND t.typnotnull AS \"@type refuses null\",
    t.typdefault IS NOT NULL AS \"@type default\", a.attinhcount > 0 AND NOT a.attislocal AS \"@inherited\",
    'c' || seq.oid AS \"@sequence\", seq.denied AS \"@denied\"
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
    LEFT JOIN LATERAL (SELECT p.refobjid AS oid,
      (SELECT string_agg(DISTINCT COALESCE(quote_ident(r.rolname), 'PUBLIC'), ', ') FROM aclexplode(c.relacl) x
        LEFT JOIN pg_roles r ON r.oid = x.grantee WHERE x.privilege_type = 'INSERT'
        AND NOT has_sequence_privilege(COALESCE(r.rolname, 'public'), p.refobjid, 'USAGE, UPDATE')) AS denied
      FROM pg_depend p JOIN pg_class sc ON sc.oid = p.refobjid AND sc.relkind = 'S'
      WHERE p.classid = 'pg_attrdef'::regclass AND p.objid = d.oid AND p.refclassid = 'pg_class'::regclass LIMIT 1) seq ON true
    WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'f', 'v', 'm', 'c') AND {users}
    AND {own:pg_class c};";

const CONSTRAINTS: &str = "SELECT 'constraint' AS kind, 'k' || k.oid AS key,
    CASE WHEN k.conrelid <> 0 THEN 'c' || k.conrelid ELSE 't' || k.contypid END AS parent, quote_ident(k.conname) AS name,
    k.contype AS type, regexp_replace(pg_get_constraintdef(k.oid), '( NOT VALID| DEFERRABLE| INITIALLY DEFERRED)+$', '')
      AS definition,
    k.convalidated AS validated, k.condeferrable AS deferrable, k.condeferred AS deferred, k.connoinherit AS \"no inherit\",
    CASE WHEN k.contype IN ('p', 'u', 'x') THEN substring(pg_get_indexdef(k.conindid) from ' USING (.*)$') END AS index,
    CASE WHEN k.contype = 'f' THEN k.confdeltype END AS \"on delete\", CASE WHEN k.contype = 'f' THEN k.confupdtype END
      AS \"on update\",
    (SELECT string_agg('c' || k.conrelid || '.' || x, ',') FROM unnest(k.conkey) x) AS \"@columns\",
    k.conparentid <> 0 OR (k.coninhcount > 0 AND NOT k.conislocal) AS \"@inherited\"
    FROM pg_constraint k JOIN pg_namespace n ON n.oid = k.connamespace
    WHERE k.contype IN ('c', 'f', 'p', 'u', 'x') AND {users}
    AND (k.conrelid = 0 OR EXISTS (SELECT FROM pg_class c WHERE c.oid = k.conrelid AND {own:pg_class c}))
    AND (k.contypid = 0 OR EXISTS (SELECT FROM pg_type t WHERE t.oid = k.contypid AND {own:pg_type t}));";

const INDEXES: &str =
    "SELECT 'index' AS kind, 'i' || ic.oid AS key, 'c' || c.oid AS parent, quote_ident(ic.relname) AS name,
    i.indisunique AS unique, i.indisvalid AS valid, substring(pg_get_indexdef(ic.oid) from ' USING (.*)$') AS index,
    i.indpred IS NOT NULL AS \"@partial\", ic.relispartition AS \"@inherited\",
    (SELECT string_agg('c' || c.oid || '.' || x.number, ',') FROM unnest(i.indkey) WITH ORDINALITY x(number, place)
      WHERE x.place <= i.indnkeyatts) AS \"@columns\"
    FROM pg_index i JOIN pg_class ic ON ic.oid = i.indexrelid JOIN pg_class c ON c.oid = i.indrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE {users} AND {own:pg_class c} AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = ic.oid
      AND k.conrelid = c.oid AND k.contype IN ('p', 'u', 'x'));";

const TRIGGERS: &str =
    "SELECT 'trigger' AS kind, 'g' || g.oid AS key, 'c' || c.oid AS parent, quote_ident(g.tgname) AS name,
    replace(replace(pg_get_triggerdef(g.oid), ' ON ' || c.oid::regclass || ' ', ' '),
      'TRIGGER ' || quote_ident(g.tgname) || ' ', 'TRIGGER ') AS definition,
    g.tgenabled AS enabled, {since 13: g.tgparentid <> 0 AS \"@inherited\",} 'p' || g.tgfoid AS \"@function\"
    FROM pg_trigger g JOIN pg_class c ON c.oid = g.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE NOT g.tgisinternal AND {users} AND {own:pg_class c} AND {own:pg_trigger g};";

const RULES: &str =
    "SELECT 'rule' AS kind, 'w' || w.oid AS key, 'c' || c.oid AS parent, quote_ident(w.rulename) AS name,
    pg_get_ruledef(w.oid) AS definition, w.ev_enabled AS enabled
    FROM pg_rewrite w JOIN pg_class c ON c.oid = w.ev_class JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE w.rulename <> '_RETURN' AND {users} AND {own:pg_class c} AND {own:pg_rewrite w};";

const POLICIES: &str =
    "SELECT 'policy' AS kind, 'y' || y.oid AS key, 'c' || c.oid AS parent, quote_ident(y.polname) AS name,
    concat_ws(' ', CASE WHEN y.polpermissive THEN 'permissive' ELSE 'restrictive' END, 'for', y.polcmd, 'to',
      (SELECT string_agg(CASE o WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(o) END, ', ' ORDER BY pg_get_userbyid(o))
        FROM unnest(y.polroles) o),
      'using', pg_get_expr(y.polqual, c.oid), 'with check', pg_get_expr(y.polwithcheck, c.oid)) AS definition
    FROM pg_policy y JOIN pg_class c ON c.oid = y.polrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE {users} AND {own:pg_class c};";

const TYPES: &str = "SELECT CASE t.typtype WHEN 'e' THEN 'enum' WHEN 'd' THEN 'domain' ELSE 'type' END AS kind,
    't' || t.oid AS key, 'n' || n.oid AS parent, quote_ident(t.typname) AS name, pg_get_userbyid(t.typowner) AS owner,
    CASE WHEN t.typtype = 'd' THEN format_type(t.typbasetype, t.typtypmod) END AS \"base type\",
    CASE WHEN t.typtype = 'd' THEN t.typnotnull END AS \"not null\", t.typdefault AS default,
    labels.names AS labels, labels.keys AS \"@labels\",
    (SELECT format_type(r.rngsubtype, NULL) FROM pg_range r WHERE r.rngtypid = t.oid) AS subtype,
    CASE WHEN t.typtype = 'b' THEN concat_ws(' ', t.typinput, t.typoutput, t.typlen, t.typbyval, t.typalign) END AS form
    FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
    LEFT JOIN LATERAL (SELECT json_agg(e.enumlabel ORDER BY e.enumsortorder) AS names,
      json_agg(e.oid::text ORDER BY e.enumsortorder) AS keys FROM pg_enum e WHERE e.enumtypid = t.oid) labels ON true
    WHERE t.typtype IN ('e', 'd', 'r', 'b') AND {users} AND {own:pg_type t}
    AND NOT EXISTS (SELECT FROM pg_type el WHERE el.typarray = t.oid);";

const FUNCTIONS: &str = "SELECT 'function' AS kind, 'p' || p.oid AS key, 'n' || n.oid AS parent,
    quote_ident(p.proname) || '(' || pg_get_function_identity_arguments(p.oid) || ')' AS name,
    quote_ident(p.proname) AS \"@name\", p.proargtypes::text AS \"@arguments\",
    pg_get_userbyid(p.proowner) AS owner, p.prokind AS form, pg_get_function_arguments(p.oid) AS arguments,
    p.pronargdefaults AS \"@defaults\", pg_get_function_result(p.oid) AS result, l.lanname AS language,
    md5(concat_ws(' ', p.prosrc, p.probin {since 14:, pg_get_function_sqlbody(p.oid)},
      (SELECT concat_ws(' ', g.aggkind, g.aggtransfn, g.aggfinalfn, g.aggcombinefn, g.agginitval, g.aggtranstype::regtype)
        FROM pg_aggregate g WHERE g.aggfnoid = p.oid))) AS definition,
    p.provolatile AS volatility, p.proisstrict AS strict, p.prosecdef AS \"security definer\",
    (SELECT string_agg(s, ', ' ORDER BY s) FROM unnest(p.proconfig) s) AS settings
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_language l ON l.oid = p.prolang
    WHERE {users} AND {own:pg_proc p};";

const RIGHTS: &str = "WITH held AS (
      SELECT 'c' || c.oid AS parent, c.relowner AS owner, x.grantee, x.privilege_type
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace,
        aclexplode(COALESCE(c.relacl, acldefault(CASE c.relkind WHEN 'S' THEN 's'::\"char\" ELSE 'r' END, c.relowner))) x
        WHERE c.relkind IN ('r', 'p', 'f', 'v', 'm', 'S') AND {users} AND {own:pg_class c}
      UNION ALL SELECT 'c' || c.oid || '.' || a.attnum, c.relowner, x.grantee, x.privilege_type
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace,
        aclexplode(a.attacl) x WHERE NOT a.attisdropped AND {users} AND {own:pg_class c}
      UNION ALL SELECT 'n' || n.oid, n.nspowner, x.grantee, x.privilege_type FROM pg_namespace n,
        aclexplode(COALESCE(n.nspacl, acldefault('n', n.nspowner))) x WHERE {users} AND {own:pg_namespace n}
      UNION ALL SELECT 'p' || p.oid, p.proowner, x.grantee, x.privilege_type
        FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace,
        aclexplode(COALESCE(p.proacl, acldefault('f', p.proowner))) x WHERE {users} AND {own:pg_proc p}
      UNION ALL SELECT COALESCE('c' || NULLIF(t.typrelid, 0), 't' || t.oid), t.typowner, x.grantee, x.privilege_type
        FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace LEFT JOIN pg_class tc ON tc.oid = t.typrelid,
        aclexplode(COALESCE(t.typacl, acldefault('T', t.typowner))) x
        WHERE (t.typtype IN ('e', 'd', 'r', 'b') OR tc.relkind = 'c') AND {users} AND {own:pg_type t}
        AND NOT EXISTS (SELECT FROM pg_type el WHERE el.typarray = t.oid)
      UNION ALL SELECT 'd', b.datdba, x.grantee, x.privilege_type FROM pg_database b,
        aclexplode(COALESCE(b.datacl, acldefault('d', b.datdba))) x WHERE b.datname = current_database())
    SELECT 'right' AS kind, 'r' || parent || ':' || grantee AS key, parent,
    CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END AS name,
    string_agg(DISTINCT privilege_type, ', ' ORDER BY privilege_type) AS privileges, grantee = owner AS \"@owner\"
    FROM held GROUP BY parent, grantee, owner;";

const DEFAULT_RIGHTS: &str = "SELECT 'default right' AS kind, 'u' || d.oid || ':' || x.grantee AS key,
    concat_ws(' ', CASE d.defaclobjtype WHEN 'r' THEN 'tables' WHEN 'S' THEN 'sequences' WHEN 'f' THEN 'functions'
      WHEN 'T' THEN 'types' WHEN 'n' THEN 'schemas' ELSE d.defaclobjtype::text END,
      'of', quote_ident(pg_get_userbyid(d.defaclrole)), 'in ' || quote_ident(n.nspname), 'to',
      CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(x.grantee)) END) AS name,
    string_agg(DISTINCT x.privilege_type, ', ' ORDER BY x.privilege_type) AS privileges
    FROM pg_default_acl d LEFT JOIN pg_namespace n ON n.oid = d.defaclnamespace, aclexplode(d.defaclacl) x
    GROUP BY d.oid, d.defaclobjtype, d.defaclrole, n.nspname, x.grantee;";

/// Roles that own something here, or have a right here; other roles of the server are none of this database's business.
const CONCERNED: &str = "concerned AS (SELECT DISTINCT d.refobjid AS oid FROM pg_shdepend d
    WHERE d.refclassid = 'pg_authid'::regclass AND d.dbid = (SELECT b.oid FROM pg_database b
    WHERE b.datname = current_database()))";

const ROLES: &str = "WITH {concerned} SELECT 'role' AS kind, 'a' || r.oid AS key, quote_ident(r.rolname) AS name,
    r.rolcanlogin AS login, r.rolsuper AS superuser, r.rolbypassrls AS \"bypass rls\", r.rolinherit AS inherit
    FROM concerned JOIN pg_roles r ON r.oid = concerned.oid;
    WITH {concerned} SELECT DISTINCT 'member' AS kind, 'm' || m.roleid || ':' || m.member AS key,
    quote_ident(pg_get_userbyid(m.member)) || ' of ' || quote_ident(pg_get_userbyid(m.roleid)) AS name
    FROM pg_auth_members m JOIN concerned ON concerned.oid = m.roleid;
    WITH {concerned} SELECT 'setting' AS kind,
    's' || s.setdatabase || ':' || s.setrole || ':' || split_part(x, '=', 1) AS key,
    split_part(x, '=', 1) || ' of ' || CASE s.setrole WHEN 0 THEN 'the database'
      ELSE 'role ' || quote_ident(pg_get_userbyid(s.setrole)) END
      || CASE WHEN s.setdatabase = 0 OR s.setrole = 0 THEN '' ELSE ' in the database' END AS name,
    split_part(x, '=', 1) AS \"@setting\", substring(x from position('=' in x) + 1) AS value
    FROM pg_db_role_setting s, unnest(s.setconfig) x
    WHERE s.setdatabase = (SELECT b.oid FROM pg_database b WHERE b.datname = current_database())
    OR s.setdatabase = 0 AND s.setrole IN (SELECT concerned.oid FROM concerned);";

const EXTENSIONS: &str = "SELECT 'extension' AS kind, 'x' || e.oid AS key, quote_ident(e.extname) AS name,
    e.extversion AS version, quote_ident(n.nspname) AS schema, pg_get_userbyid(e.extowner) AS owner
    FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace;
    SELECT 'event trigger' AS kind, 'e' || e.oid AS key, quote_ident(e.evtname) AS name, e.evtevent AS event,
    e.evtenabled AS enabled, e.evtfoid::regprocedure AS function, array_to_string(e.evttags, ', ') AS tags
    FROM pg_event_trigger e WHERE {own:pg_event_trigger e};";

/// What else there is. No check knows what a change of these means.
const OTHERS: &str = "WITH found AS (
      SELECT 'collation ' AS word, o.tableoid, o.oid, quote_ident(n.nspname) || '.' || quote_ident(o.collname) AS name,
        concat_ws(' ', o.collprovider, o.collisdeterministic) AS told FROM pg_collation o
        JOIN pg_namespace n ON n.oid = o.collnamespace WHERE {users}
      UNION ALL SELECT 'operator ', o.tableoid, o.oid, o.oid::regoperator::text, o.oprcode::text FROM pg_operator o
        JOIN pg_namespace n ON n.oid = o.oprnamespace WHERE {users}
      UNION ALL SELECT 'operator class ', o.tableoid, o.oid, quote_ident(n.nspname) || '.' || quote_ident(o.opcname),
        concat_ws(' ', o.opcintype::regtype, o.opcdefault) FROM pg_opclass o
        JOIN pg_namespace n ON n.oid = o.opcnamespace WHERE {users}
      UNION ALL SELECT 'conversion ', o.tableoid, o.oid, quote_ident(n.nspname) || '.' || quote_ident(o.conname),
        o.conproc::text FROM pg_conversion o JOIN pg_namespace n ON n.oid = o.connamespace WHERE {users}
      UNION ALL SELECT 'text search configuration ', o.tableoid, o.oid,
        quote_ident(n.nspname) || '.' || quote_ident(o.cfgname), (SELECT string_agg(concat_ws(' ', m.maptokentype,
        m.mapdict::regdictionary), ', ' ORDER BY m.maptokentype, m.mapseqno) FROM pg_ts_config_map m WHERE m.mapcfg = o.oid)
        FROM pg_ts_config o JOIN pg_namespace n ON n.oid = o.cfgnamespace WHERE {users}
      UNION ALL SELECT 'text search dictionary ', o.tableoid, o.oid,
        quote_ident(n.nspname) || '.' || quote_ident(o.dictname), o.dictinitoption
        FROM pg_ts_dict o JOIN pg_namespace n ON n.oid = o.dictnamespace WHERE {users}
      UNION ALL SELECT 'statistics ', o.tableoid, o.oid, quote_ident(n.nspname) || '.' || quote_ident(o.stxname), ''
        FROM pg_statistic_ext o JOIN pg_namespace n ON n.oid = o.stxnamespace WHERE {users}
      UNION ALL SELECT 'cast ', o.tableoid, o.oid, format_type(o.castsource, NULL) || ' to ' || format_type(o.casttarget, NULL),
        concat_ws(' ', o.castcontext, o.castmethod, NULLIF(o.castfunc, 0)::regprocedure) FROM pg_cast o WHERE o.oid >= 16384
      UNION ALL SELECT 'language ', o.tableoid, o.oid, quote_ident(o.lanname), o.lanpltrusted::text FROM pg_language o
        WHERE o.oid >= 16384
      UNION ALL SELECT 'foreign server ', o.tableoid, o.oid, quote_ident(o.srvname), array_to_string(o.srvoptions, ', ')
        FROM pg_foreign_server o
      UNION ALL SELECT 'publication ', o.tableoid, o.oid, quote_ident(o.pubname), concat_ws(' ', o.puballtables, o.pubinsert,
        o.pubupdate, o.pubdelete, o.pubtruncate, (SELECT string_agg(r.prrelid::regclass::text, ', '
        ORDER BY r.prrelid::regclass::text) FROM pg_publication_rel r WHERE r.prpubid = o.oid)) FROM pg_publication o)
    SELECT 'other object' AS kind, 'o' || tableoid || ':' || oid AS key, word || name AS name, told AS definition,
    trim(word) AS \"@word\" FROM found
    WHERE NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = found.tableoid AND e.objid = found.oid AND e.deptype = 'e');";

/// What [`super::read::invalid_indexes`] asks.
pub(super) const INVALID_INDEXES: &str =
    "SELECT pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname)
    FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE NOT i.indisvalid AND c.relkind = 'i' ORDER BY 1";

/// What [`super::read::sizes`] asks. Before PostgreSQL 14 an estimate that there is none of is 0 rows on 0 pages.
pub(super) const SIZES: &str = "SELECT pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname),
    CASE WHEN c.reltuples < 0 OR c.reltuples = 0 AND c.relpages = 0 THEN NULL ELSE c.reltuples::pg_catalog.int8 END,
    pg_catalog.pg_total_relation_size(c.oid)
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'm') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'";

/// All questions, for a server of this version (as `server_version_num` says it), as one message. The relation with the OID
/// `except`, and what belongs to it, is left out.
pub(super) fn all(version: u32, except: &str) -> String {
    let asked = [
        SCHEMAS,
        RELATIONS,
        COLUMNS,
        CONSTRAINTS,
        INDEXES,
        TRIGGERS,
        RULES,
        POLICIES,
        TYPES,
        FUNCTIONS,
        RIGHTS,
        DEFAULT_RIGHTS,
        ROLES,
        EXTENSIONS,
        OTHERS,
    ];
    let mut sql = asked.concat().replace("{concerned}", CONCERNED);
    sql = sql.replace("{users}", "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'");
    sql = sql.replace("{own:pg_class c}", &format!("{{own:pg_class c}} AND c.oid <> {except}"));
    while let Some((before, text, after)) = placeholder(&sql, "{own:") {
        let (catalog, alias) = text.split_once(' ').unwrap_or_default();
        sql = format!(
            "{before}NOT EXISTS (SELECT FROM pg_depend ext WHERE ext.classid = '{catalog}'::regclass \
             AND ext.objid = {alias}.oid AND ext.deptype = 'e'){after}"
        );
    }
    while let Some((before, text, after)) = placeholder(&sql, "{since ") {
        let (since, text) = text.split_once(':').unwrap_or_default();
        let asked = since.parse::<u32>().is_ok_and(|since| version / 10_000 >= since);
        sql = format!("{before}{}{after}", if asked { text } else { "" });
    }
    SETTINGS.to_owned() + &sql
}

/// What stands before, within and behind the first placeholder that begins with `opening`.
fn placeholder<'a>(sql: &'a str, opening: &str) -> Option<(&'a str, &'a str, &'a str)> {
    let (before, rest) = sql.split_once(opening)?;
    let (text, after) = rest.split_once('}')?;
    Some((before, text, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_servers_are_not_asked_for_what_they_do_not_have() {
        for (version, trigger, body) in [(120_022, false, false), (130_000, true, false), (140_001, true, true)] {
            let sql = all(version, "7");
            assert_eq!(sql.contains("tgparentid"), trigger, "{version}");
            assert_eq!(sql.contains("pg_get_function_sqlbody"), body, "{version}");
            assert!(!sql.contains("{own") && !sql.contains("{since") && !sql.contains("{users"), "{sql}");
            assert!(sql.contains("c.oid <> 7"));
        }
    }
}
