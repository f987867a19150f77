#!/bin/sh
# Creates the two database users of an Aurora cluster through the RDS Data API. Called by database.tf; safe to run again.
set -eu

for name in CLUSTER_ARN SECRET_ARN DATABASE OWNER APP WAIT_SECONDS; do
  eval "value=\${$name:-}"
  [ -n "$value" ] || { echo "database-roles: the variable $name is missing" >&2; exit 64; }
done
command -v aws >/dev/null || { echo "database-roles: needs the aws command line (version 2)" >&2; exit 69; }

# One statement, hence one transaction. A member of rds_iam cannot log in with a password any more, directly or through
# another role: so the administrator is a member of the owner's role only while it changes its default privileges, and
# rds_iam comes last.
sql=$(cat <<SQL
DO \$\$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '$OWNER') THEN
    CREATE ROLE "$OWNER" LOGIN;
  END IF;
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '$APP') THEN
    CREATE ROLE "$APP" LOGIN;
  END IF;
  GRANT "$OWNER" TO CURRENT_USER;
  GRANT CONNECT, CREATE ON DATABASE "$DATABASE" TO "$OWNER";
  GRANT CONNECT ON DATABASE "$DATABASE" TO "$APP";
  GRANT USAGE, CREATE ON SCHEMA public TO "$OWNER";
  GRANT USAGE ON SCHEMA public TO "$APP";
  ALTER DEFAULT PRIVILEGES FOR ROLE "$OWNER" GRANT USAGE ON SCHEMAS TO "$APP";
  ALTER DEFAULT PRIVILEGES FOR ROLE "$OWNER" GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO "$APP";
  ALTER DEFAULT PRIVILEGES FOR ROLE "$OWNER" GRANT USAGE, SELECT ON SEQUENCES TO "$APP";
  REVOKE "$OWNER" FROM CURRENT_USER;
  GRANT rds_iam TO "$OWNER", "$APP";
END
\$\$
SQL
)

# A cluster that was just made, or that is waking up, refuses for a while.
end=$(($(date +%s) + WAIT_SECONDS))
until aws rds-data execute-statement --resource-arn "$CLUSTER_ARN" --secret-arn "$SECRET_ARN" --database "$DATABASE" --sql "$sql"; do
  if [ "$(date +%s)" -ge "$end" ]; then
    echo "database-roles: the cluster did not take the statement within $WAIT_SECONDS s" >&2
    exit 75
  fi
  sleep 10
done
