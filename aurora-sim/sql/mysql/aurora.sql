-- Stands in for information_schema.replica_host_status, where nobody can create anything. Times are UTC whatever the
-- session's time zone is.
CREATE DEFINER = 'root'@'%' VIEW aurora_sim.replica_host_status AS
  SELECT t.server_id AS SERVER_ID, t.session_id AS SESSION_ID, COALESCE(t.cpu, 1.0) AS CPU,
         CAST(t.lag_ms AS DECIMAL(20, 3)) AS REPLICA_LAG_IN_MILLISECONDS,
         CAST(COALESCE(TIMESTAMP '1970-01-01 00:00:00' + INTERVAL t.last_update SECOND, UTC_TIMESTAMP(6)) AS DATETIME(6))
           AS LAST_UPDATE_TIMESTAMP
    FROM JSON_TABLE(aurora_sim.state('topology'), '$.instances[*]' COLUMNS (
           server_id VARCHAR(100) PATH '$.server_id', session_id VARCHAR(100) PATH '$.session_id',
           cpu DOUBLE PATH '$.cpu', lag_ms DOUBLE PATH '$.lag_ms', last_update DECIMAL(20, 6) PATH '$.last_update')) t;
