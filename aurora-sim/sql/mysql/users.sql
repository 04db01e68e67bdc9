CREATE DATABASE app;

CREATE USER 'app'@'%' IDENTIFIED WITH caching_sha2_password BY 'secret';
GRANT ALL ON app.* TO 'app'@'%';
-- For SHOW REPLICA STATUS.
GRANT REPLICATION CLIENT ON *.* TO 'app'@'%';
GRANT SELECT ON aurora_sim.* TO 'app'@'%';

CREATE USER 'iam'@'%' IDENTIFIED WITH AWSAuthenticationPlugin AS 'RDS';
GRANT ALL ON app.* TO 'iam'@'%';
GRANT REPLICATION CLIENT ON *.* TO 'iam'@'%';
GRANT SELECT ON aurora_sim.* TO 'iam'@'%';
