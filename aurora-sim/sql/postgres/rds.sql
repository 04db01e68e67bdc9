CREATE SCHEMA rds_tools;

GRANT USAGE ON SCHEMA rds_tools TO PUBLIC;

-- Blue/green status of an RDS instance; no rows until its state file exists.
CREATE FUNCTION rds_tools.show_topology(client text DEFAULT '')
RETURNS TABLE(id text, endpoint text, port integer, role text, status text, version text) LANGUAGE sql VOLATILE AS $$
  SELECT r->>'id', r->>'endpoint', (r->>'port')::int, r->>'role', r->>'status', COALESCE(r->>'version', '1.0')
    FROM pg_catalog.jsonb_array_elements(aurora_sim.read_state('bluegreen')) r
$$;

