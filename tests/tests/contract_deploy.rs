//! What a deployment does, in which order, and what stands in the way of taking it down.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise, in its helpers too")]

mod contract_support;

use contract_support::{Module, attribute, entries, read};
use dunlin_contracts::errors::notifier;
use hcl::expr::Expression;
use serde_json::Value;
use std::{fs, process::Command};

fn text(block: &hcl::Block, name: &str) -> String {
    attribute(block, name).unwrap_or_else(|| panic!("no {name}")).to_string()
}

#[test]
fn no_function_has_new_code_before_the_tables_are_there() {
    let root = Module::root();
    let invocation = root.block("resource", &["aws_lambda_invocation", "migrate"]);
    assert!(text(invocation, "function_name").contains("module.migrate.name"));
    let others = root.block("module", &["function"]);
    assert!(text(others, "for_each").contains(r#"name != "migrate""#), "migrate is updated with the others");
    assert!(text(others, "depends_on").contains("aws_lambda_invocation.migrate"));
    // The other way round would be a circle: what migrate needs must not wait for the others.
    let migrate = root.block("module", &["migrate"]);
    assert!(attribute(migrate, "depends_on").is_none(), "migrate waits for nobody");
    assert!(migrate.body().attributes().all(|attribute| !attribute.expr().to_string().contains("module.function")));
}

#[test]
fn only_recorders_take_concurrency_from_the_account() {
    // A new account has a quota of 10, of which none can be reserved.
    let root = Module::root();
    for (name, function) in entries(root.local("functions")) {
        if let Some(reserved) = entries(function).get("reserved_concurrency") {
            assert_eq!(reserved.to_string(), "var.recorder_concurrency", "{name}");
        }
    }
    assert!(attribute(root.block("module", &["migrate"]), "reserved_concurrency").is_none());
}

#[test]
fn every_protection_can_be_taken_off_and_is_on_by_default() {
    let root = Module::root();
    let cluster = root.block("resource", &["aws_rds_cluster", "main"]);
    assert!(text(cluster, "deletion_protection").contains("var.database_deletion_protection"));
    assert!(text(cluster, "skip_final_snapshot").contains("!var.database_final_snapshot"));
    let pool = root.block("resource", &["aws_cognito_user_pool", "main"]);
    assert!(text(pool, "deletion_protection").contains("var.user_pool_deletion_protection"));
    let down = read("docs/aws.md").split("## Taking it down").nth(1).unwrap().to_owned();
    for name in ["database_deletion_protection", "user_pool_deletion_protection", "database_final_snapshot"] {
        let default = attribute(root.block("variable", &[name]), "default").unwrap();
        assert_eq!(default, &Expression::Bool(true), "{name}");
        assert!(down.contains(name), "docs/aws.md does not say {name}");
    }
}

/// With one key for all, the second environment takes the first one's state, and replaces it.
#[test]
fn every_environment_has_a_state_of_its_own() {
    let example = hcl::parse(&read("infra/terraform/env/aws.backend.tf.example")).unwrap();
    let backend = example.blocks().next().unwrap().body().blocks().next().unwrap();
    for given in ["bucket", "region", "key"] {
        assert!(attribute(backend, given).is_none(), "{given} is the same for every environment");
    }
    let page = read("docs/aws.md");
    let init: Vec<&str> = page.lines().filter(|line| line.starts_with("terraform init ")).collect();
    assert_eq!(init.len(), 1, "one init: {init:?}");
    let setting = |name: &str| init[0].split(&format!(" -backend-config={name}=")).nth(1).map(str::trim);
    assert!(setting("bucket").is_some() && setting("region").is_some(), "{}", init[0]);
    let key = setting("key").unwrap_or_else(|| panic!("no key: {}", init[0])).split(' ').next().unwrap();
    assert_eq!(key, format!("dunlin/{}/terraform.tfstate", environment(&page)));
}

/// The environment that docs/aws.md makes.
fn environment(page: &str) -> &str {
    page.lines().find_map(|line| line.strip_prefix("environment   = ")).unwrap().trim_matches('"')
}

/// Words of docs/aws.md from the line that begins with `first` to the line `done`.
fn loop_of<'a>(page: &'a str, first: &str) -> &'a str {
    let begin = page.find(&format!("\n{first}")).unwrap_or_else(|| panic!("docs/aws.md has no {first:?}")) + 1;
    let length = page[begin..].find("\ndone\n").unwrap() + "\ndone\n".len();
    &page[begin..begin + length]
}

/// What the words print; programs that they call are functions of the test's own.
fn run(programs: &str, words: &str, variables: &[(&str, &str)]) -> String {
    let program = format!("{programs}\n{words}");
    let output = Command::new("bash").args(["-c", &program]).envs(variables.iter().copied()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn resources<'a>(module: &'a Module, kind: &'a str) -> impl Iterator<Item = &'a hcl::Block> {
    module.blocks("resource").filter(move |block| block.labels()[0].as_str() == kind)
}

#[test]
fn no_event_is_lost_that_cannot_be_delivered() {
    let root = Module::root();
    let targets: Vec<_> = resources(&root, "aws_cloudwatch_event_target").collect();
    assert!(targets.len() >= 2);
    for target in targets {
        let dead = target.body().blocks().find(|block| block.identifier() == "dead_letter_config");
        let dead = dead.unwrap_or_else(|| panic!("{:?} drops events", target.labels()));
        assert_eq!(text(dead, "arn"), "aws_sqs_queue.undelivered_events.arn");
    }

    let names = root.local("event_rule_names").to_string();
    assert!(names.contains("keys(local.event_rules)"), "{names}");
    for rule in resources(&root, "aws_cloudwatch_event_rule") {
        let name = text(rule, "name");
        let name = name.trim_matches('"').trim_start_matches("${local.prefix}-");
        let of_the_list = name == "${each.key}" && text(rule, "for_each") == "local.event_rules";
        assert!(of_the_list || names.contains(&format!("\"{name}\"")), "{name} is not in {names}");
    }
    let queue = root.block("resource", &["aws_sqs_queue", "undelivered_events"]);
    let policy = text(queue, "policy");
    for words in ["events.amazonaws.com", "aws:SourceArn", "for name in local.event_rule_names"] {
        assert!(policy.contains(words), "no {words} in {policy}");
    }
    let module = Module::at("infra/terraform/modules/queue");
    let dead = module.block("resource", &["aws_sqs_queue", "dead"]);
    for name in ["message_retention_seconds", "sqs_managed_sse_enabled"] {
        assert_eq!(text(queue, name), text(dead, name), "as every dead-letter queue");
    }

    let depth = root.block("resource", &["aws_cloudwatch_metric_alarm", "undelivered_events"]);
    let like = module.block("resource", &["aws_cloudwatch_metric_alarm", "dead"]);
    for name in ["namespace", "metric_name", "statistic", "period", "evaluation_periods", "threshold"] {
        assert_eq!(text(depth, name), text(like, name), "as every dead-letter queue");
    }
    assert!(text(depth, "dimensions").contains("aws_sqs_queue.undelivered_events.name"));
    let rules = root.block("resource", &["aws_cloudwatch_metric_alarm", "event_rules"]);
    assert_eq!(text(rules, "metric_name"), "\"FailedInvocations\"");
    assert!(text(rules, "for_each").contains("local.event_rule_names"));
}

/// SQS itself moves only what it has moved there.
#[test]
fn events_that_were_not_delivered_are_sent_where_they_belong_and_deleted_then() {
    let page = read("docs/aws.md");
    let words = loop_of(&page, "queue=$(terraform output -raw undelivered_events_queue_url)");
    Module::root().block("output", &["undelivered_events_queue_url"]);
    // A queue is a file with a line for each message, in the order of the query.
    assert!(words.contains("Messages[0].[ReceiptHandle, MessageAttributes.TARGET_ARN.StringValue, Body]"));
    let programs = r#"
        terraform() { echo https://sqs/1/dunlin-prod-undelivered-events; }
        aws() {
            case "$2 $3" in
                "receive-message --queue-url") [ "$4" = "$queue" ] && head -n 1 "$LEFT" | grep . || echo None ;;
                "send-message --queue-url") [ "$5" = --message-body ] && [ -z "$REFUSED" ] && echo "$4 $6" ;;
                "delete-message --queue-url") [ "$5 $6" = "--receipt-handle $(head -n 1 "$LEFT" | cut -f 1)" ] && sed -i 1d "$LEFT" ;;
            esac
        }"#;
    let left = tempfile::NamedTempFile::new().unwrap();
    let events = [
        ("r1", "recordings", r#"{"detail": {"status": "FAILED \\ \"1\""}}"#),
        ("r2", "price-batches", r#"{"id":  "2"}"#),
    ];
    let lines: Vec<String> = events
        .iter()
        .map(|(receipt, queue, event)| format!("{receipt}\tarn:aws:sqs:eu-central-1:1:dunlin-prod-{queue}\t{event}\n"))
        .collect();
    fs::write(left.path(), lines.concat()).unwrap();
    let file = left.path().to_str().unwrap();
    assert_eq!(run(programs, words, &[("LEFT", file), ("REFUSED", "yes")]), "");
    assert_eq!(fs::read_to_string(left.path()).unwrap(), lines.concat(), "what was not sent is not deleted");
    let sent = run(programs, words, &[("LEFT", file), ("REFUSED", "")]);
    let expected = events.map(|(_, queue, event)| format!("https://sqs/1/dunlin-prod-{queue} {event}\n"));
    assert_eq!(sent, expected.concat());
    assert_eq!(fs::read_to_string(left.path()).unwrap(), "");
}

/// Terraform does not know what the API has stored.
#[test]
fn the_secrets_of_organisations_are_deleted_with_their_environment() {
    let page = read("docs/aws.md");
    let down = page.split("## Taking it down").nth(1).unwrap();
    let prefix = format!("dunlin/{}", environment(&page));
    assert_eq!(Module::root().local("secrets_prefix").to_string(), r#""dunlin/${var.environment}""#);
    for file in ["functions/intake/src/routes/credentials.rs", "functions/intake/src/routes/webhook.rs"] {
        assert!(read(file).contains("{}/tenants/{}/"), "{file} stores secrets at another place");
    }
    let aws = r#"aws() {
        case "$1 $2 $3" in
            "secretsmanager list-secrets --filters") [ "$4" = "Key=name,Values=$PREFIX/tenants/" ] && printf 'arn:1\tarn:2\narn:3\n' ;;
            "secretsmanager delete-secret --secret-id") echo "$4 $5" ;;
        esac
    }"#;
    let deleted = run(aws, loop_of(down, "for secret in "), &[("PREFIX", prefix.as_str())]);
    let expected: Vec<String> = (1..=3).map(|n| format!("arn:{n} --force-delete-without-recovery")).collect();
    assert_eq!(deleted.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn jobs_are_ended_only_where_a_scan_submitted_them() {
    let root = Module::root();
    let intake = entries(root.local("permissions"))["intake"].to_string();
    let machine = root.local("state_machine_permissions").to_string();
    for (who, statements) in [("intake", intake), ("the state machine", machine)] {
        let at = statements.find("batch:TerminateJob").unwrap_or_else(|| panic!("{who} ends no job"));
        assert!(statements[at..].split('}').next().unwrap().contains("local.only_our_jobs"), "{who} may end any job");
    }
    let condition = root.local("only_our_jobs").to_string();
    let tag = "dunlin:scan";
    assert!(condition.contains(&format!("aws:ResourceTag/{tag}")), "{condition}");
    let submitted = read("statemachines/scan.asl.json");
    assert!(submitted.contains(&format!("\"Tags\": {{\"{tag}\":")), "jobs have another tag");
}

#[test]
fn the_notifier_reads_no_credential_of_a_repository() {
    let root = Module::root();
    let notifier = entries(root.local("permissions"))["notifier"].to_string();
    let name = notifier.split("/tenants/*/").nth(1).unwrap().split('"').next().unwrap();
    // `*` takes slashes too: `tenants/*/webhook-??????` would be the credential tenants/acme/git/webhook as well. A credential's
    // name has no slash, so it cannot end like this.
    assert_eq!(name, "webhook/receiver-??????");
    for file in ["functions/intake/src/routes/webhook.rs", "functions/notifier/src/channels/webhook.rs"] {
        assert!(read(file).contains("{}/tenants/{}/webhook/receiver\""), "{file} uses another name");
    }
}

#[test]
fn a_database_that_wakes_up_calls_nobody() {
    let root = Module::root();
    let unavailable = root.block("resource", &["aws_cloudwatch_metric_alarm", "api_unavailable"]);
    let seconds: u64 = ["period", "evaluation_periods"]
        .iter()
        .map(|name| contract_support::number(attribute(unavailable, name).unwrap()))
        .product();
    assert!(seconds >= 900, "a paused database answers 503 for half a minute, several times a day");
    let filter = root.block("resource", &["aws_cloudwatch_log_metric_filter", "api_errors"]);
    let pattern = text(filter, "pattern");
    assert!(pattern.contains("$.status") && pattern.contains("503"), "{pattern}");
    // A pattern on numbers would never match: the access log writes strings.
    assert!(read("infra/terraform/api.tf").contains(r#"status      = "$context.status""#));
}

/// What a tenant's receiver, repository or file can bring about is no failure of a function; a failure of the function itself must be heard.
#[test]
fn functions_that_may_refuse_call_nobody_and_their_own_failures_do() {
    let root = Module::root();
    let kinds = root.local("alarms_of_functions_that_may_refuse").to_string();
    assert!(!kinds.contains("errors"), "{kinds}");
    let functions = entries(root.local("functions"));
    let quiet: Vec<&str> =
        functions.iter().filter(|(_, f)| entries(f).contains_key("alarms")).map(|(name, _)| name.as_str()).collect();
    assert_eq!(quiet, ["inspector", "notifier", "planner", "source"]);

    // What fails for good fails the execution, and there is an alarm on those.
    let alarms = entries(root.local("state_machine_alarms"));
    let mut calls_notifier = 0;
    for (machine, first, quiet) in
        [("scan", "scan-failed", &["source", "planner"][..]), ("price-batch", "price-batch-failed", &["inspector"][..])]
    {
        assert_eq!(text_of(entries(alarms[first])["metric"]), "ExecutionsFailed");
        let asl: Value = serde_json::from_str(&read(format!("statemachines/{machine}.asl.json"))).unwrap();
        for (name, state) in asl["States"].as_object().unwrap() {
            let calls = |function: &&str| state["Arguments"]["FunctionName"] == format!("${{{function}_arn}}");
            if quiet.iter().any(&calls) {
                assert_eq!(state["Catch"][0]["Next"], "Describe failure", "{machine}: {name} fails unheard");
            }
            calls_notifier += usize::from(calls(&"notifier"));
        }
        assert_eq!(asl["States"]["Describe failure"]["Next"], "Record failure");
        assert_eq!(asl["States"]["Record failure"]["Next"], "Notify receivers of the failure");
        let ends = asl["States"]["Notify receivers of the failure"]["Next"].as_str().unwrap();
        assert_eq!(asl["States"][ends]["Type"], "Fail");
    }

    // No execution fails because of notifier: every line of its log that says "the function failed" rings, but for receivers.
    assert_eq!(calls_notifier, 4);
    let patterns = entries(root.local("notifier_failures"));
    let pattern = |name: &str| text_of(patterns[name]);
    assert_eq!(pattern("error"), format!("\"the function failed\" -\"{}\"", notifier::DELIVERY_UNAVAILABLE));
    let told = read("crates/runtime/src/naming.rs");
    assert!(told.contains("error.name = error.name(), error.message = %message, \"the function failed\""));
    for crash in ["user handler panicked", "Task timed out", "Runtime exited"] {
        assert!(pattern("crash").contains(&format!("?\"{crash}\"")), "{}", pattern("crash"));
    }
    let filter = root.block("resource", &["aws_cloudwatch_log_metric_filter", "notifier_failures"]);
    assert!(text(filter, "log_group_name").contains(r#"module.function["notifier"]"#));
    let metric = filter.body().blocks().next().unwrap();
    let alarm = root.block("resource", &["aws_cloudwatch_metric_alarm", "notifier_failures"]);
    assert_eq!(text(metric, "name"), text(alarm, "metric_name"));
}

fn text_of(expression: &Expression) -> String {
    match expression {
        Expression::String(text) => text.clone(),
        other => panic!("not a text: {other:?}"),
    }
}

#[test]
fn one_version_of_terraform_is_named_everywhere() {
    let root = Module::root();
    let wanted = text(root.blocks("terraform").next().unwrap(), "required_version");
    let version = wanted.trim_matches('"').trim_start_matches(">= ").to_owned();
    for file in ["README.md", "docs/aws.md", "docs/local-cloud.md", "infra/local/localcloud/tools.py"] {
        let text = read(file).to_lowercase();
        for (at, _) in text.match_indices("terraform 1.") {
            let named: String = text[at + 10..].chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
            assert_eq!(named.trim_end_matches('.'), version, "{file}");
        }
        assert!(text.contains(&format!("terraform {version}")), "{file} names no version");
    }
}
