#![expect(
    clippy::expect_used,
    clippy::print_stderr,
    reason = "for tests only: without its database a test must stop and say why"
)]

use crate::server::Server;
use anyhow::{Context, bail};
use dunlin_store::{DatabaseConfig, Password, Secret, Store};
use std::{str::FromStr, sync::OnceLock};
use tokio::sync::OnceCell;
use tokio_postgres::{Client, Config, NoTls, config::Host};
use uuid::Uuid;

/// A server that is there already; databases are created on it and dropped again.
const URL: &str = "DUNLIN_TEST_DATABASE_URL";

static SERVER: OnceLock<Server> = OnceLock::new();
/// The name of a database of this process with the whole schema: every other one is copied from it.
static TEMPLATE: OnceCell<String> = OnceCell::const_new();

/// A database of its own, with the schema applied. Dropped with the value.
pub struct TestDatabase {
    name: String,
    server: DatabaseConfig,
}

impl TestDatabase {
    /// Panics with a sentence about what is missing: without a database there is nothing to test.
    pub async fn new() -> Self {
        match Self::create(true).await {
            Ok(database) => database,
            Err(error) => panic!("there is no database for this test: {error:#}"),
        }
    }

    /// One without any table, for tests of the migrations.
    pub async fn empty() -> Self {
        match Self::create(false).await {
            Ok(database) => database,
            Err(error) => panic!("there is no database for this test: {error:#}"),
        }
    }

    async fn create(with_schema: bool) -> anyhow::Result<Self> {
        let server = tokio::task::spawn_blocking(server).await??;
        let name = format!("dunlin_test_{}", Uuid::now_v7().simple());
        match (with_schema, SERVER.get()) {
            // Our own server goes away with its databases, so one of them may stay behind to be copied from.
            (true, Some(_)) => {
                let template = TEMPLATE.get_or_try_init(|| make_template(&server)).await?;
                execute(&server, &format!("create database {name} template {template}")).await?;
            }
            (true, None) => make_with_schema(&server, &name).await?,
            (false, _) => execute(&server, &format!("create database {name}")).await?,
        }
        Ok(Self { name, server })
    }

    /// How a function would reach it.
    pub fn config(&self) -> DatabaseConfig {
        DatabaseConfig { name: self.name.clone(), ..self.server.clone() }
    }

    pub async fn store(&self) -> Store {
        Store::connect(&self.config()).await.expect("the test database takes connections")
    }

    /// How `role` would reach it. A server that asks for passwords gets to know one.
    pub async fn config_as(&self, role: &str) -> DatabaseConfig {
        let client = self.client().await;
        client.batch_execute(&format!("alter role {role} password '{role}'")).await.expect("the role exists");
        DatabaseConfig { user: role.to_owned(), password: Password::Static(Secret::new(role)), ..self.config() }
    }

    /// For looking at rows directly, in tests only.
    pub async fn client(&self) -> Client {
        connect(&self.config()).await.expect("the test database takes connections")
    }

    /// Every row of every table as text, in a stable order: two states are the same when their dumps are.
    pub async fn dump(&self) -> String {
        let client = self.client().await;
        let tables = "select table_name from information_schema.tables where table_schema = 'public'
                      and table_name <> 'refinery_schema_history' order by 1";
        let mut text = String::new();
        for table in client.query(tables, &[]).await.expect("tables are listed") {
            let table: &str = table.get(0);
            let rows =
                client.query(&format!("select t::text from {table} t order by 1"), &[]).await.expect("rows are read");
            for row in rows {
                text.push_str(&format!("{table} {}\n", row.get::<_, String>(0)));
            }
        }
        text
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        // A server of our own goes away with all its databases.
        if SERVER.get().is_some() {
            return;
        }
        let (server, statement) = (self.server.clone(), format!("drop database if exists {} with (force)", self.name));
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(execute(&server, &statement))
        });
        if !matches!(dropped.join(), Ok(Ok(()))) {
            eprintln!("the test database {} could not be dropped", self.name);
        }
    }
}

/// Settings of the server, with its maintenance database.
fn server() -> anyhow::Result<DatabaseConfig> {
    if let Some(url) = std::env::var_os(URL) {
        return from_url(&url.to_string_lossy()).with_context(|| format!("{URL} cannot be used"));
    }
    static STARTING: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _one_at_a_time = STARTING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if SERVER.get().is_none() {
        let _ = SERVER.set(Server::start()?);
    }
    let folder = &SERVER.get().context("the server was just started")?.socket_folder;
    Ok(DatabaseConfig::new(folder.to_string_lossy(), 5432, "postgres", "postgres"))
}

fn from_url(url: &str) -> anyhow::Result<DatabaseConfig> {
    let config = Config::from_str(url)?;
    let host = match config.get_hosts() {
        [Host::Tcp(host)] => host.clone(),
        [Host::Unix(path)] => path.to_string_lossy().into_owned(),
        _ => bail!("it must name one host"),
    };
    let port = config.get_ports().first().copied().unwrap_or(5432);
    let user = config.get_user().context("it must name a user")?;
    let password = config.get_password().map(|p| String::from_utf8_lossy(p).into_owned());
    Ok(DatabaseConfig {
        password: password.map_or(Password::None, |p| Password::Static(Secret::new(p))),
        ..DatabaseConfig::new(host, port, config.get_dbname().unwrap_or("postgres"), user)
    })
}

async fn make_template(server: &DatabaseConfig) -> anyhow::Result<String> {
    let name = format!("dunlin_template_{}", Uuid::now_v7().simple());
    make_with_schema(server, &name).await?;
    Ok(name)
}

async fn make_with_schema(server: &DatabaseConfig, name: &str) -> anyhow::Result<()> {
    execute(server, &format!("create database {name}")).await?;
    let mut store = Store::connect(&DatabaseConfig { name: name.to_owned(), ..server.clone() }).await?;
    store.migrate().await?;
    store.close().await;
    Ok(())
}

async fn execute(server: &DatabaseConfig, statement: &str) -> anyhow::Result<()> {
    Ok(connect(server).await?.batch_execute(statement).await?)
}

async fn connect(config: &DatabaseConfig) -> anyhow::Result<Client> {
    let mut pg = Config::new();
    pg.port(config.port).dbname(&config.name).user(&config.user);
    match config.host.strip_prefix('/') {
        Some(_) => pg.host_path(&config.host),
        None => pg.host(&config.host),
    };
    if let Password::Static(secret) = &config.password {
        pg.password(secret.expose());
    }
    let (client, connection) = pg.connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}
