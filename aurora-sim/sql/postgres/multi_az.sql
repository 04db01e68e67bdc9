CREATE SCHEMA rds_tools;

GRANT USAGE ON SCHEMA rds_tools TO PUBLIC;

CREATE FUNCTION rds_tools.show_topology(client text DEFAULT '')
RETURNS TABLE(id text, endpoint text, port integer) LANGUAGE sql VOLATILE AS $$
  SELECT r->>'resource_id', r->>'endpoint', (r->>'port')::int
    FROM pg_catalog.jsonb_array_elements(aurora_sim.read_state('topology')->'instances') r
$$;

CREATE FUNCTION rds_tools.dbi_resource_id(OUT dbi_resource_id text) LANGUAGE sql VOLATILE AS $$
  SELECT r->>'resource_id'
    FROM pg_catalog.jsonb_array_elements(aurora_sim.read_state('topology')->'instances') r
   WHERE r->>'server_id' OPERATOR(pg_catalog.=) pg_catalog.current_setting('cluster_name')
$$;

CREATE FUNCTION rds_tools.multi_az_db_cluster_source_dbi_resource_id(OUT multi_az_db_cluster_source_dbi_resource_id text)
RETURNS SETOF text LANGUAGE sql VOLATILE AS $$
  SELECT r->>'resource_id'
    FROM pg_catalog.jsonb_array_elements(aurora_sim.read_state('topology')->'instances') r
   WHERE (r->>'writer')::boolean
$$;

