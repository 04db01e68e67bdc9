CREATE FUNCTION pg_catalog.aurora_db_instance_identifier() RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$ SELECT pg_catalog.current_setting('cluster_name') $$;

CREATE FUNCTION pg_catalog.aurora_version() RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
  SELECT pg_catalog.split_part(pg_catalog.current_setting('server_version'), ' ', 1) || '.0'
$$;

CREATE FUNCTION pg_catalog.aurora_replica_status(
  OUT server_id text, OUT session_id text, OUT durable_lsn bigint, OUT highest_lsn_rcvd bigint,
  OUT current_read_lsn bigint, OUT cur_replay_latency_in_usec bigint, OUT active_txns bigint,
  OUT is_current boolean, OUT last_transport_error integer, OUT last_error_timestamp timestamptz,
  OUT last_update_timestamp timestamptz, OUT feedback_xmin bigint, OUT feedback_epoch bigint,
  OUT replica_lag_in_msec integer, OUT log_stream_speed_in_kib_per_second double precision,
  OUT log_buffer_sequence_number bigint, OUT is_primary boolean, OUT cpu double precision)
RETURNS SETOF record LANGUAGE sql VOLATILE AS $$
  SELECT r->>'server_id', r->>'session_id', 0::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint, true, 0,
         NULL::timestamptz, COALESCE(pg_catalog.to_timestamp((r->>'last_update')::float8), pg_catalog.clock_timestamp()),
         0::bigint, 0::bigint, (r->>'lag_ms')::int, 0::float8, 0::bigint, (r->>'writer')::boolean,
         COALESCE((r->>'cpu')::float8, 1.0)
    FROM pg_catalog.jsonb_array_elements(aurora_sim.read_state('topology')->'instances') r
$$;

-- The functions below answer nothing until their state file exists; that is what a cluster without the feature does.
CREATE FUNCTION pg_catalog.get_blue_green_fast_switchover_metadata(client text DEFAULT '')
RETURNS TABLE(id text, endpoint text, port integer, role text, status text, version text) LANGUAGE sql VOLATILE AS $$
  SELECT r->>'id', r->>'endpoint', (r->>'port')::int, r->>'role', r->>'status', COALESCE(r->>'version', '1.0')
    FROM pg_catalog.jsonb_array_elements(aurora_sim.read_state('bluegreen')) r
$$;

CREATE FUNCTION pg_catalog.aurora_limitless_router_endpoints()
RETURNS TABLE(router_endpoint text, load double precision) LANGUAGE sql VOLATILE AS $$
  SELECT r->>'router_endpoint', (r->>'load')::float8
    FROM pg_catalog.jsonb_array_elements(aurora_sim.read_state('limitless')) r
$$;

CREATE FUNCTION pg_catalog.aurora_global_db_status()
RETURNS TABLE(aws_region text, highest_lsn_written bigint, durability_lag_in_msec bigint) LANGUAGE sql VOLATILE AS $$
  SELECT r->>'aws_region', 0::bigint, -1::bigint
    FROM pg_catalog.jsonb_array_elements(aurora_sim.read_state('global')->'regions') r
$$;

CREATE FUNCTION pg_catalog.aurora_global_db_instance_status()
RETURNS TABLE(server_id text, session_id text, aws_region text, visibility_lag_in_msec bigint) LANGUAGE sql VOLATILE AS $$
  SELECT r->>'server_id', r->>'session_id', r->>'aws_region', (r->>'lag_ms')::bigint
    FROM pg_catalog.jsonb_array_elements(aurora_sim.read_state('global')->'instances') r
$$;

