CREATE DEFINER = 'root'@'%' VIEW mysql.rds_topology AS
  SELECT t.* FROM JSON_TABLE(aurora_sim.state('topology'), '$.instances[*]' COLUMNS (
    id VARCHAR(50) PATH '$.resource_id', endpoint VARCHAR(255) PATH '$.endpoint', port INT PATH '$.port')) t;
GRANT SELECT ON mysql.rds_topology TO 'app'@'%', 'iam'@'%';
