-- Run by --init-file: a statement ends with a semicolon at the end of a line.

CREATE USER 'root'@'%' IDENTIFIED BY '';
GRANT ALL ON *.* TO 'root'@'%' WITH GRANT OPTION;

CREATE DATABASE aurora_sim;

-- State that a control program changes by replacing a file: first the view of this instance alone, then the one of the
-- whole cluster.
CREATE DEFINER = 'root'@'%' FUNCTION aurora_sim.state(kind VARCHAR(64)) RETURNS LONGTEXT CHARSET utf8mb4 NOT DETERMINISTIC READS SQL DATA
  RETURN COALESCE(
    CONVERT(LOAD_FILE(CONCAT(@@sim_state_dir, '/', @@sim_instance, '.', kind, '.json')) USING utf8mb4),
    CONVERT(LOAD_FILE(CONCAT(@@sim_state_dir, '/', kind, '.json')) USING utf8mb4), '{}');

-- For a transaction when one is needed.
CREATE TABLE aurora_sim.pulse (id INT PRIMARY KEY, time DATETIME(6));
