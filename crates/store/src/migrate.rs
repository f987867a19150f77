use crate::{Store, StoreError};
use refinery::{Report, Runner, Target};
use std::collections::BTreeSet;

mod embedded {
    refinery::embed_migrations!("migrations");
}

/// Whoever holds this lock migrates; the number only has to differ from other advisory locks of the database.
const MIGRATION_LOCK: i64 = 0x6475_6e6c_696e_0001;

/// Default privileges give every new table to the application's role, this one too. Whoever may write it can make the next
/// migration be skipped.
const KEEP_HISTORY: &str = "do $$
    declare other name;
    begin
        for other in
            select distinct grantee::regrole::name from pg_class, aclexplode(relacl)
            where oid = 'refinery_schema_history'::regclass and grantee not in (0, relowner) and privilege_type <> 'SELECT'
        loop
            execute format('revoke all on refinery_schema_history from %I', other);
            execute format('grant select on refinery_schema_history to %I', other);
        end loop;
    end $$";

/// Whoever may write batches of prices calls the functions that make and drop their tables, writes no price but into those, and
/// deletes no place: prices refer to places without a key. Default privileges know nothing of this.
const PRICE_RIGHTS: &str = "do $$
    declare other name; f regprocedure; rows_of_batch regclass;
    begin
        for other in
            select distinct grantee::regrole::name from pg_class, aclexplode(relacl)
            where oid = 'price_batches'::regclass and grantee not in (0, relowner) and privilege_type = 'INSERT'
        loop
            for f in
                select p.oid::regprocedure from pg_proc p join pg_class c on c.relnamespace = p.pronamespace
                where c.oid = 'price_batches'::regclass and starts_with(p.proname, 'price_table_')
            loop
                execute format('grant execute on function %s to %I', f, other);
            end loop;
            execute format('revoke delete on ports, regions, price_batches from %I', other);
            execute format('revoke insert, update, delete on prices from %I', other);
            for rows_of_batch in select inhrelid from pg_inherits where inhparent = 'prices'::regclass loop
                execute format('revoke insert, update, delete on %s from %I', rows_of_batch, other);
            end loop;
        end loop;
    end $$";

/// What one run did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migrated {
    /// `V1__scans`; empty when the schema was up to date.
    pub applied: Vec<String>,
    /// The schema's version now.
    pub version: u32,
}

/// The role that functions connect as. It reads and writes rows and owns nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApplicationRole {
    /// Lower-case letters, digits and `_`.
    pub name: String,
    /// Connects with IAM tokens: becomes a member of `rds_iam`, which Amazon RDS provides.
    pub iam: bool,
}

impl Store {
    /// Brings the schema up to date; one of a later release is left as it is. Two at once are safe: the second waits, then finds nothing to do.
    pub async fn migrate(&mut self) -> Result<Migrated, StoreError> {
        // The lock belongs to the session: a run that dies gives it back with its connection.
        // Another run may take long, so the bounds that statements have otherwise do not apply to waiting for it.
        self.client.batch_execute("set lock_timeout = 0; set statement_timeout = 0").await?;
        self.client.execute("select pg_advisory_lock($1)", &[&MIGRATION_LOCK]).await?;
        self.client.batch_execute("reset lock_timeout; reset statement_timeout").await?;
        let result = self.run_migrations(embedded::migrations::runner()).await;
        self.client.execute("select pg_advisory_unlock($1)", &[&MIGRATION_LOCK]).await?;
        let report = result?;
        self.client.batch_execute(KEEP_HISTORY).await?;
        self.client.batch_execute(PRICE_RIGHTS).await?;
        let version: i32 =
            self.client.query_one("select coalesce(max(version), 0) from refinery_schema_history", &[]).await?.get(0);
        Ok(Migrated {
            applied: report.applied_migrations().iter().map(ToString::to_string).collect(),
            version: u32::try_from(version).unwrap_or(0),
        })
    }

    /// Code that is older than the schema changes nothing: going back to it must not fail, and it does not see what was added.
    async fn run_migrations(&mut self, runner: Runner) -> Result<Report, StoreError> {
        let applied = self.applied_versions().await?;
        let known = runner.get_migrations();
        let all_applied = known.iter().all(|migration| applied.contains(&migration.version()));
        if all_applied && applied.len() > known.len() {
            tracing::warn!(schema.version = applied.last(), "the schema is of a later release than this code");
        }
        let runner = runner.set_target(Target::Latest).set_abort_missing(!all_applied);
        runner.run_async(&mut self.client).await.map_err(StoreError::Migration)
    }

    async fn applied_versions(&self) -> Result<BTreeSet<i32>, StoreError> {
        let there = "select to_regclass('refinery_schema_history') is not null";
        if !self.client.query_one(there, &[]).await?.get::<_, bool>(0) {
            return Ok(BTreeSet::new());
        }
        let rows = self.client.query("select version from refinery_schema_history", &[]).await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    /// Makes the role where it is missing and gives it what it needs, on all tables there are and will be.
    pub async fn grant_application_role(&mut self, role: &ApplicationRole) -> Result<(), StoreError> {
        let name = &role.name;
        let first_is_letter = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
        let all_known = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if !first_is_letter || !all_known || name.len() > 63 {
            let message = format!("{name:?} is no name for a database role: use lower-case letters, digits and _");
            return Err(StoreError::Invalid(message));
        }
        // Roles belong to the whole server, and two runs at once must not both create this one.
        let tx = self.client.transaction().await?;
        tx.execute("select pg_advisory_xact_lock($1)", &[&MIGRATION_LOCK]).await?;
        let exists = tx.query_opt("select from pg_roles where rolname = $1", &[name]).await?.is_some();
        if !exists {
            tx.batch_execute(&format!("create role {name} login")).await?;
        }
        if role.iam {
            // Whoever owns the schema may not be allowed to grant it; then an administrator has done so before.
            let member: bool = tx.query_one("select pg_has_role($1, 'rds_iam', 'member')", &[name]).await?.get(0);
            if !member {
                tx.batch_execute(&format!("grant rds_iam to {name}")).await?;
            }
        }
        tx.batch_execute(&format!(
            "grant usage on schema public to {name};
             grant select, insert, update, delete on all tables in schema public to {name};
             revoke insert, update, delete on refinery_schema_history from {name};
             grant usage on all sequences in schema public to {name};
             alter default privileges in schema public grant select, insert, update, delete on tables to {name};
             alter default privileges in schema public grant usage on sequences to {name};"
        ))
        .await?;
        tx.batch_execute(PRICE_RIGHTS).await?;
        tx.commit().await?;
        Ok(())
    }
}
