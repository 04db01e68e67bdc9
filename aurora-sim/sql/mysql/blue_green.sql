-- Blue/green status; no rows until its state file exists.
CREATE DEFINER = 'root'@'%' VIEW mysql.rds_topology AS
  SELECT t.* FROM JSON_TABLE(aurora_sim.state('bluegreen'), '$[*]' COLUMNS (
    id VARCHAR(50) PATH '$.id', endpoint VARCHAR(255) PATH '$.endpoint', port INT PATH '$.port',
    role VARCHAR(50) PATH '$.role', status VARCHAR(50) PATH '$.status',
    version VARCHAR(20) PATH '$.version' DEFAULT '"1.0"' ON EMPTY)) t;
GRANT SELECT ON mysql.rds_topology TO 'app'@'%', 'iam'@'%';
