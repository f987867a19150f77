//! Terraform against the folders, the environment variables, the object keys and the sizes of the Rust code, and against the
//! rules of the house: no wildcard without a reason, no queue without a dead-letter queue, no route without a token.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise, in its helpers too")]

mod contract_support;

use contract_support::{Module, attribute, entries, files, number, object_key, read, repository};
use dunlin_core::{
    BatchId, RepositoryId, ResultKey, ScanId, TenantId, UploadId,
    job::Size,
    keys,
    prices::{BadRow, BatchKind, MAX_ROWS, Reason},
};
use dunlin_prices::{MAX_RANGES, RANGE_BYTES, report};
use hcl::expr::Expression;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};
use time::macros::datetime;

/// Statements whose resource is `*`, and why it cannot be narrower. The page is the AWS service authorization reference.
const WILDCARDS: &[(&str, &str)] = &[
    ("FindJobs", "batch:ListJobs has no resource type (list_awsbatch)"),
    ("WatchJobs", "batch:DescribeJobs has no resource type (list_awsbatch)"),
    ("SeeNetwork", "ec2:Describe* have no resource type (list_amazonec2)"),
    ("LogInToRegistry", "ecr:GetAuthorizationToken has no resource type (list_amazonelasticcontainerregistry)"),
    ("DeliverLogs", "log delivery has no resource type (list_amazoncloudwatchlogs)"),
];

/// Names of the folders in `path`.
fn folders(path: &str) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(repository().join(path))
        .unwrap_or_else(|error| panic!("{path}: {error}"))
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_type().unwrap().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Calls `look` for `expression` and everything inside it.
fn walk<'a>(expression: &'a Expression, look: &mut impl FnMut(&'a Expression)) {
    look(expression);
    match expression {
        Expression::Array(items) => items.iter().for_each(|item| walk(item, look)),
        Expression::Object(object) => object.iter().for_each(|(_, value)| walk(value, look)),
        Expression::FuncCall(call) => call.args.iter().for_each(|argument| walk(argument, look)),
        Expression::Parenthesis(inner) => walk(inner, look),
        Expression::Conditional(choice) => {
            walk(&choice.true_expr, look);
            walk(&choice.false_expr, look);
        }
        Expression::ForExpr(each) => {
            walk(&each.collection_expr, look);
            walk(&each.value_expr, look);
        }
        _ => {}
    }
}

/// Calls `look` for every expression of a block, its inner blocks included.
fn walk_body<'a>(body: &'a hcl::Body, look: &mut impl FnMut(&'a Expression)) {
    body.attributes().for_each(|attribute| walk(attribute.expr(), look));
    body.blocks().for_each(|block| walk_body(block.body(), look));
}

fn functions() -> BTreeSet<String> {
    let root = Module::root();
    let mut names: BTreeSet<String> = entries(root.local("functions")).into_keys().collect();
    // One per engine, in a module block of its own.
    root.block("module", &["runner"]);
    names.insert("runner".into());
    names
}

#[test]
fn every_function_has_one_name_everywhere() {
    let root = Module::root();
    let terraform = functions();
    assert_eq!(folders("functions").into_iter().collect::<BTreeSet<_>>(), terraform, "folders and local.functions");
    assert_eq!(entries(root.local("permissions")).into_keys().collect::<BTreeSet<_>>(), terraform, "local.permissions");
    let timeouts: BTreeSet<_> = entries(root.local("timeouts")).into_keys().collect();
    assert_eq!(timeouts, terraform, "local.timeouts");
    for name in &terraform {
        let manifest = read(format!("functions/{name}/Cargo.toml"));
        assert!(manifest.contains(&format!("name = \"{name}\"")), "functions/{name} builds no binary of that name");
    }
}

#[test]
fn every_function_is_documented_and_has_events() {
    for name in functions() {
        assert!(
            repository().join(format!("functions/{name}/README.md")).is_file(),
            "functions/{name} has no README.md"
        );
        let events = files(&format!("events/{name}"), ".json");
        assert!(!events.is_empty(), "events/{name} has no event");
        for (path, text) in events {
            serde_json::from_str::<serde_json::Value>(&text).unwrap_or_else(|error| panic!("{path}: {error}"));
        }
    }
}

/// The variables that a function's source requires, by the literal in `env.required::<T>("NAME")`.
fn required(function: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (_, text) in files(&format!("functions/{function}/src"), ".rs") {
        for rest in text.split("required::<").skip(1) {
            let Some(literal) = rest.split(">(\"").nth(1) else { continue };
            names.insert(literal.split('"').next().unwrap().to_owned());
        }
    }
    names
}

#[test]
fn every_variable_that_a_function_requires_is_supplied() {
    let root = Module::root();
    let common: BTreeSet<String> = entries(root.local("common_environment")).into_keys().collect();
    let database = ["DATABASE_HOST", "DATABASE_PORT", "DATABASE_NAME", "DATABASE_USER", "DATABASE_AUTH"];
    let all = entries(root.local("functions"));
    let mut seen = 0;
    for name in functions().iter().filter(|name| *name != "runner") {
        let function = entries(all[name.as_str()]);
        let mut supplied = common.clone();
        supplied.extend(entries(function["environment"]).into_keys());
        if function.contains_key("database") {
            supplied.extend(database.map(str::to_owned));
        }
        for variable in required(name).iter().filter(|variable| !variable.starts_with("AWS_")) {
            assert!(supplied.contains(variable), "{name} requires {variable}");
            seen += 1;
        }
    }
    assert!(seen > 8, "the way functions read their environment has changed; this test no longer sees it");
}

#[test]
fn wildcard_resources_have_a_reason() {
    let mut found = BTreeSet::new();
    for folder in ["infra/terraform", "infra/terraform/modules/function", "infra/terraform/modules/queue"] {
        for (path, body) in &Module::at(folder).files {
            walk_body(body, &mut |expression| {
                let Expression::Object(object) = expression else { return };
                let fields: BTreeMap<String, &Expression> =
                    object.iter().map(|(key, value)| (object_key(key).to_lowercase(), value)).collect();
                let Some(resources) = fields.get("resource").or(fields.get("resources")) else { return };
                let mut any = false;
                walk(resources, &mut |value| {
                    any |= matches!(value, Expression::String(text) if text == "*" || text == "arn:aws:s3:::*")
                });
                if any {
                    let sid = fields.get("sid").map(ToString::to_string).unwrap_or_default();
                    let sid = sid.trim_matches('"').to_owned();
                    assert!(
                        WILDCARDS.iter().any(|(known, _)| *known == sid),
                        "{path}: statement {sid:?} takes every resource"
                    );
                    found.insert(sid);
                }
            });
            // Actions are never wildcards.
            walk_body(body, &mut |expression| {
                let Expression::Object(object) = expression else { return };
                for (key, value) in object.iter() {
                    if !["actions", "Action"].contains(&object_key(key).as_str()) {
                        continue;
                    }
                    let denies = object
                        .iter()
                        .any(|(key, value)| object_key(key) == "Effect" && *value == Expression::String("Deny".into()));
                    walk(value, &mut |action| {
                        let Expression::String(action) = action else { return };
                        assert!(denies || !action.contains('*'), "{path}: action {action}");
                    });
                }
            });
        }
    }
    let listed: BTreeSet<String> = WILDCARDS.iter().map(|(sid, _)| (*sid).to_owned()).collect();
    assert_eq!(found, listed, "the list names statements that are gone");
}

#[test]
fn every_policy_is_data_and_runners_have_none() {
    let root = Module::root();
    let permissions = entries(root.local("permissions"));
    assert_eq!(
        permissions["runner"],
        &Expression::Array(vec![]),
        "a runner has the URLs of its ticket and nothing else"
    );
    for (name, statements) in permissions {
        let Expression::Array(statements) = statements else { panic!("{name}: not a list") };
        for statement in statements.iter().filter(|statement| !matches!(statement, Expression::Traversal(_))) {
            let fields: BTreeSet<_> = entries(statement).into_keys().collect();
            let mut allowed: BTreeSet<_> = ["actions", "resources", "sid"].map(str::to_owned).into();
            assert!(fields.is_superset(&allowed), "{name}: {fields:?}");
            allowed.insert("condition".to_owned());
            assert!(fields.is_subset(&allowed), "{name}: {fields:?}");
        }
    }
    let managed: Vec<_> = root
        .blocks("resource")
        .filter(|block| block.labels()[0].as_str() == "aws_iam_role_policy_attachment")
        .collect();
    assert!(managed.is_empty(), "a managed policy grants what nobody here wrote down");
}

#[test]
fn every_queue_has_a_dead_letter_queue_and_alarms() {
    let root = Module::root();
    let others: Vec<_> = root
        .blocks("resource")
        .map(hcl::Block::labels)
        .filter(|labels| labels[0].as_str() == "aws_sqs_queue")
        .map(|labels| labels[1].as_str())
        .collect();
    assert_eq!(others, ["undelivered_events"], "queues that somebody reads come from modules/queue");
    let queues = root
        .blocks("module")
        .filter(|block| attribute(block, "source") == Some(&Expression::String("./modules/queue".into())))
        .count();
    assert!(queues >= 3);

    let module = Module::at("infra/terraform/modules/queue");
    let redrive = attribute(module.block("resource", &["aws_sqs_queue", "this"]), "redrive_policy").unwrap();
    let mut fields = BTreeSet::new();
    walk(redrive, &mut |expression| fields.extend(entries(expression).into_keys()));
    assert!(fields.contains("deadLetterTargetArn") && fields.contains("maxReceiveCount"), "{fields:?}");
    module.block("resource", &["aws_sqs_queue", "dead"]);
    let watched: BTreeSet<String> = module
        .blocks("resource")
        .filter(|block| block.labels()[0].as_str() == "aws_cloudwatch_metric_alarm")
        .map(|block| attribute(block, "metric_name").unwrap().to_string().trim_matches('"').to_owned())
        .collect();
    assert_eq!(
        watched,
        ["ApproximateAgeOfOldestMessage", "ApproximateNumberOfMessagesVisible"].map(str::to_owned).into()
    );
}

#[test]
fn every_event_source_reports_failures_one_by_one() {
    let root = Module::root();
    let mappings: Vec<_> = root
        .blocks("resource")
        .filter(|block| block.labels()[0].as_str() == "aws_lambda_event_source_mapping")
        .collect();
    assert!(mappings.len() >= 2);
    for mapping in mappings {
        assert_eq!(
            attribute(mapping, "function_response_types"),
            Some(&Expression::Array(vec![Expression::String("ReportBatchItemFailures".into())])),
            "{:?}",
            mapping.labels()
        );
    }
}

#[test]
fn only_health_and_the_api_description_need_no_token() {
    let root = Module::root();
    let open: BTreeSet<String> = entries(root.local("routes"))
        .into_iter()
        .filter(|(_, route)| entries(route)["open"] != &Expression::Bool(false))
        .map(|(route, _)| route)
        .collect();
    assert_eq!(open, ["GET /v1/health", "GET /v1/openapi.json"].map(str::to_owned).into());
    for (route, target) in entries(root.local("routes")) {
        let function = entries(target)["function"].to_string();
        // Whether a batch can be withdrawn, only the database knows.
        assert_eq!(
            function.trim_matches('"') == "api",
            route.starts_with("GET ") || route == "POST /v1/price-batches/{id}/withdraw",
            "{route}: whoever reads needs the database, whoever writes must not"
        );
    }
}

#[test]
fn the_app_client_cannot_write_the_tenant() {
    let root = Module::root();
    let client = root.block("resource", &["aws_cognito_user_pool_client", "cli"]);
    assert_eq!(
        attribute(client, "write_attributes"),
        Some(&Expression::Array(vec![Expression::String("email".into())]))
    );
    let pool = root.block("resource", &["aws_cognito_user_pool", "main"]);
    let admin = pool.body().blocks().find(|block| block.identifier() == "admin_create_user_config").unwrap();
    assert_eq!(attribute(admin, "allow_admin_create_user_only"), Some(&Expression::Bool(true)));
}

#[test]
fn every_kind_of_object_expires_and_is_permitted_by_name() {
    let tenant: TenantId = "acme".parse().unwrap();
    let scan = ScanId::new(datetime!(2026-11-21 10:00 UTC));
    let batch = BatchId::new(datetime!(2026-11-21 10:00 UTC));
    let result = ResultKey::from_digest([0; 32]);
    let repository = RepositoryId::derived(&tenant, "git.example/acme/shop");
    let all = [
        keys::accepted(&tenant, scan),
        keys::cancelled(&tenant, scan),
        keys::upload(&tenant, UploadId::new(datetime!(2026-11-21 10:00 UTC))),
        keys::snapshot_prefix(&tenant, repository, "abc"),
        keys::plan(&tenant, scan),
        keys::ticket(&tenant, scan, 0),
        keys::job_failure(&tenant, scan, 0),
        keys::result(&tenant, &result),
        keys::raw_report(&tenant, &result),
        keys::report(&tenant, scan, "sarif"),
        keys::ended(&tenant, scan),
        keys::notification(&tenant, scan, "webhook", "ended"),
        keys::price_batch_upload(&tenant, BatchKind::Prices, batch),
        keys::price_batch_request(&tenant, batch),
        keys::price_batch_faults(&tenant, batch, 0),
        keys::price_batch_report(&tenant, batch),
        keys::price_batch_notification(&tenant, batch, "webhook", "ended"),
    ];
    let kinds: BTreeSet<String> = all.iter().map(|key| key.split('/').next().unwrap().to_owned()).collect();
    let root = Module::root();
    assert_eq!(entries(root.local("lifetimes")).into_keys().collect::<BTreeSet<_>>(), kinds, "local.lifetimes");
    let snapshots = entries(root.local("lifetimes"))["snapshots"].to_string();
    assert_eq!(snapshots, keys::SNAPSHOT_DAYS.to_string(), "how long snapshots are kept");
    let mut permitted = BTreeSet::new();
    walk(root.local("objects"), &mut |expression| {
        if let Expression::Array(items) = expression {
            permitted.extend(items.iter().map(|item| item.to_string().trim_matches('"').to_owned()));
        }
    });
    assert_eq!(permitted, kinds, "local.objects");
}

#[test]
fn the_sizes_are_those_of_the_ladder() {
    let root = Module::root();
    let sizes = entries(root.local("sizes"));
    assert_eq!(sizes.len(), Size::LADDER.len());
    for size in Size::LADDER {
        let fields = entries(sizes[size.as_str()]);
        let text = |name: &str| fields[name].to_string().trim_matches('"').to_owned();
        assert_eq!(
            (text("vcpu"), text("memory_mib")),
            (size.vcpu().to_string(), size.memory_mib().to_string()),
            "{size:?}"
        );
    }
}

/// It lies in /tmp until it is in S3.
#[test]
fn the_list_of_bad_rows_of_a_range_has_room() {
    // No row is shorter beside what is said of it than an empty JSON object: it lacks every column.
    let mut lines = Vec::new();
    for column in BatchKind::Prices.columns() {
        report::append(&mut lines, &BadRow::new(MAX_ROWS, Some(column), "", Reason::MissingColumn));
    }
    let list = |bytes: u64| bytes.div_ceil(3) * u64::try_from(lines.len()).unwrap();
    let root = Module::root();
    let functions = entries(root.local("functions"));
    let room = |name: &str| entries(functions[name]).get("storage_mib").map_or(512, |mib| number(mib)) << 20;

    assert!(read("crates/ingest/src/inspect.rs").contains("const MAX_BYTES: u64 = 50 << 30;"), "the largest file");
    let range = RANGE_BYTES.max((50_u64 << 30).div_ceil(MAX_RANGES));
    assert!(room("loader") >= list(range), "loader: {} bytes of bad rows", list(range));
    let at_once = root.block("variable", &["price_batch_at_once_kib"]);
    let checked = at_once.body().blocks().next().unwrap();
    assert!(attribute(checked, "condition").unwrap().to_string().contains("var.price_batch_at_once_kib <= 8192"));
    assert!(room("inspector") >= list(8192 << 10), "inspector: {} bytes of bad rows", list(8192 << 10));
}

/// A browser that follows the API's 303 to a report in S3 says `Origin: null`.
#[test]
fn pages_read_what_they_have_a_url_of_and_only_dashboards_upload() {
    let root = Module::root();
    let words = |rule: &hcl::Block, name: &str| match attribute(rule, name).unwrap() {
        Expression::Array(items) => {
            items.iter().map(|item| item.to_string().trim_matches('"').to_owned()).collect::<Vec<_>>().join(" ")
        }
        other => other.to_string(),
    };
    let cors = root.block("resource", &["aws_s3_bucket_cors_configuration", "data"]);
    let rules: BTreeMap<String, String> =
        cors.body().blocks().map(|rule| (words(rule, "allowed_methods"), words(rule, "allowed_origins"))).collect();
    let expected = [("GET HEAD", "*"), ("PUT", "var.cors_allowed_origins")];
    assert_eq!(rules, expected.map(|(methods, origins)| (methods.to_owned(), origins.to_owned())).into());
}

#[test]
fn every_engine_is_in_the_catalog() {
    let catalog: BTreeMap<String, serde_json::Value> = serde_json::from_str(&read("engines/catalog.json")).unwrap();
    let engines: BTreeSet<String> = folders("engines")
        .into_iter()
        .filter(|name| repository().join(format!("engines/{name}/engine.toml")).is_file())
        .collect();
    assert_eq!(catalog.keys().cloned().collect::<BTreeSet<_>>(), engines);
    for (name, engine) in catalog {
        assert!(engine["lambda"].is_boolean(), "{name}");
        assert!((128..=10240).contains(&engine["lambda_memory_mib"].as_u64().unwrap()), "{name}");
        assert!(Size::LADDER.iter().any(|size| engine["size"] == size.as_str()), "{name}");
        assert!((30..=3600).contains(&engine["timeout_seconds"].as_u64().unwrap()), "{name}");
    }
}

#[test]
fn every_variable_is_described_typed_and_checked() {
    for folder in ["infra/terraform", "infra/terraform/modules/function", "infra/terraform/modules/queue"] {
        let module = Module::at(folder);
        for variable in module.blocks("variable") {
            let name = format!("{folder}: {}", variable.labels()[0].as_str());
            assert!(attribute(variable, "description").is_some(), "{name} has no description");
            let kind = attribute(variable, "type").unwrap_or_else(|| panic!("{name} has no type")).to_string();
            let checked = variable.body().blocks().any(|block| block.identifier() == "validation");
            // Modules are called from here with values that the root has checked.
            assert!(checked || kind.contains("bool") || folder != "infra/terraform", "{name} takes anything");
        }
        for output in module.blocks("output") {
            assert!(
                attribute(output, "description").is_some(),
                "{folder}: output {} has no description",
                output.labels()[0].as_str()
            );
        }
    }
}

#[test]
fn the_emulator_answers_for_every_service_that_is_used() {
    // A service without an endpoint would be looked for in AWS, with the emulator's credentials.
    const SERVICES: &[(&str, &str)] = &[
        ("aws_apigatewayv2_", "apigatewayv2"),
        ("aws_batch_", "batch"),
        ("aws_cloudwatch_event_", "eventbridge"),
        ("aws_cloudwatch_log_", "cloudwatchlogs"),
        ("aws_cloudwatch_metric_", "cloudwatch"),
        ("aws_cognito_", "cognitoidp"),
        ("aws_db_", "rds"),
        ("aws_ecr_", "ecr"),
        ("aws_iam_", "iam"),
        ("aws_lambda_", "lambda"),
        ("aws_rds_", "rds"),
        ("aws_s3_", "s3"),
        ("aws_secretsmanager_", "secretsmanager"),
        ("aws_sfn_", "sfn"),
        ("aws_sns_", "sns"),
        ("aws_sqs_", "sqs"),
    ];
    const NETWORK: &[&str] = &[
        "aws_vpc",
        "aws_subnet",
        "aws_route",
        "aws_internet_gateway",
        "aws_security_group",
        "aws_default_security_group",
    ];
    let root = Module::root();
    let mut known = BTreeSet::new();
    for provider in root.blocks("provider") {
        walk_blocks(provider.body(), &mut |block| {
            if block.identifier() == "content" {
                known.extend(block.body().attributes().map(|attribute| attribute.key().to_owned()));
            }
        });
    }
    for folder in ["infra/terraform", "infra/terraform/modules/function", "infra/terraform/modules/queue"] {
        for resource in Module::at(folder).blocks("resource") {
            let kind = resource.labels()[0].as_str();
            if kind == "terraform_data" {
                continue;
            }
            let service = SERVICES
                .iter()
                .find(|(prefix, _)| kind.starts_with(prefix))
                .map(|(_, service)| *service)
                .or_else(|| NETWORK.iter().any(|prefix| kind.starts_with(prefix)).then_some("ec2"))
                .unwrap_or_else(|| panic!("which service is {kind}?"));
            assert!(known.contains(service), "{kind}: no endpoint for {service} in providers.tf");
        }
    }
}

fn walk_blocks<'a>(body: &'a hcl::Body, look: &mut impl FnMut(&'a hcl::Block)) {
    for block in body.blocks() {
        look(block);
        walk_blocks(block.body(), look);
    }
}

#[test]
fn nothing_is_billed_by_the_hour_while_idle() {
    const HOURLY: &[&str] = &[
        "aws_nat_gateway",
        "aws_elasticache_",
        "aws_db_proxy",
        "aws_lb",
        "aws_instance",
        "aws_eip",
        "aws_mskconnect",
        "aws_opensearch",
        "aws_lambda_provisioned_concurrency_config",
    ];
    let root = Module::root();
    for resource in root.blocks("resource") {
        let kind = resource.labels()[0].as_str();
        assert!(!HOURLY.iter().any(|prefix| kind.starts_with(prefix)), "{kind} is billed by the hour");
        if kind == "aws_vpc_endpoint" {
            assert_eq!(
                attribute(resource, "vpc_endpoint_type"),
                Some(&Expression::String("Gateway".into())),
                "interface endpoints are billed by the hour"
            );
        }
    }
    let cluster = root.block("resource", &["aws_rds_cluster", "main"]);
    let scaling =
        cluster.body().blocks().find(|block| block.identifier() == "serverlessv2_scaling_configuration").unwrap();
    assert_eq!(number(attribute(scaling, "min_capacity").unwrap()), 0, "Aurora pauses");
}
