-- Loaded into template1 by a stand-alone backend: a statement ends with a semicolon and an empty line.

SET allow_system_table_mods = on;

-- The built-in cannot be replaced in place (it is dispatched by its OID), but it can be renamed.
UPDATE pg_catalog.pg_proc SET proname = 'pg_is_in_recovery_builtin'
 WHERE oid = 'pg_catalog.pg_is_in_recovery()'::pg_catalog.regprocedure;

-- A demoted writer keeps its connections and still calls itself a reader.
CREATE FUNCTION pg_catalog.pg_is_in_recovery() RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE AS $$
  SELECT pg_catalog.pg_is_in_recovery_builtin()
      OR COALESCE(pg_catalog.current_setting('aurora_sim.demoted', true), 'off') OPERATOR(pg_catalog.=) 'on'
$$;

CREATE SCHEMA aurora_sim;

GRANT USAGE ON SCHEMA aurora_sim TO PUBLIC;

-- State that a control program changes by replacing a file: first the view of this instance alone, then the
-- one of the whole cluster.
CREATE FUNCTION aurora_sim.read_state(kind text) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
  folder text := current_setting('aurora_sim.state_dir', true);
  content text;
BEGIN
  IF folder IS NULL THEN
    RETURN NULL;
  END IF;
  content := pg_read_file(folder || '/' || current_setting('cluster_name') || '.' || kind || '.json', 0, 1000000, true);
  IF content IS NULL THEN
    content := pg_read_file(folder || '/' || kind || '.json', 0, 1000000, true);
  END IF;
  RETURN content::jsonb;
END
$$;

-- What a demoted writer answers to a write, whatever the session has set.
CREATE FUNCTION aurora_sim.refuse_write() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'cannot execute % in a read-only transaction', TG_OP USING ERRCODE = '25006';
END
$$;

CREATE FUNCTION aurora_sim.refuse_command() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'cannot execute % in a read-only transaction', TG_TAG USING ERRCODE = '25006';
END
$$;

-- Settings with a dot in their name are not listed by pg_show_all_settings().
CREATE OR REPLACE VIEW pg_catalog.pg_settings AS
  SELECT * FROM pg_catalog.pg_show_all_settings()
  UNION ALL
  SELECT 'rds.extensions', pg_catalog.current_setting('rds.extensions', true), NULL, 'Customized Options', NULL, NULL,
         'user', 'string', 'configuration file', NULL, NULL, NULL, NULL, NULL, NULL, NULL, false
   WHERE pg_catalog.current_setting('rds.extensions', true) IS NOT NULL;

