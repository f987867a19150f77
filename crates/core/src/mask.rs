//! Masking of secrets in text that leaves the sandbox. What is masked keeps at most four leading characters, which is
//! enough to recognise one's own key and not enough to use it. A word too many is masked rather than one too few.

use regex::{Captures, Regex, RegexBuilder};
use std::{borrow::Cow, collections::HashMap, sync::LazyLock};

const MASK: &str = "****";
const KEPT: usize = 4;

/// The name of something secret, as it stands before a value.
const NAMES: &str = r"(?:pass(?:word|wd|phrase)?|pwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|auth(?:orization|[_-]?key|[_-]?token)?|credentials?|bearer|salt|signature)";

/// Of a name, behind that: letters of any script.
const REST: &str = r"(?-i:[\w\u{80}-\u{10FFFF}-]*)";

/// Between a name and its literal: a type (`password: &str =`, `var password string =`, `char password[] =`), then what assigns,
/// passes or compares.
const ASSIGNS: &str = r"(?:\[\]|\s*:\s*&?(?:'\w+\s+)?[\w.:]+(?:<[\w<>,.:&]*>)?(?:\[\])?\??|\s+\[?\]?[\w.]+(?:\s*:)?)?\s*(?::=|=>|[=!]?={1,2}|[:=(,]|\.equals(?:IgnoreCase)?\()\s*";

/// Before the quotes: letters of the literal's kind, and what makes bytes, strings and secrets of one.
const MAKES: &str = r"(?:[bfru@$]{1,2}|\[\]byte\(|(?:new\s+)?(?:[\w]+::)?(?:String|SecretStr|SecretString|Secret)(?:::(?:from|new))?\(\s*)?";

struct Pattern {
    regex: Regex,
    /// The group that is the secret.
    group: usize,
}

/// Order matters: whole blocks first, then what has a shape of its own, then what has only a name.
static PATTERNS: LazyLock<Vec<Pattern>> = LazyLock::new(|| {
    let named = |value: &str| format!(r#"\b[\w.-]*{NAMES}{REST}["'`]?\]?{ASSIGNS}{MAKES}{value}"#);
    let table: Vec<(String, usize)> = vec![
        (r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----(?s-i:.*?)(?:-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----|\z)".into(), 0),
        (r"\b(?-i:A(?:KIA|SIA|BIA|CCA)[A-Z2-7]{16})\b".into(), 0),
        (r"\bgh[pousr]_[a-z0-9]{16,}|\bgithub_pat_\w{16,}|\bgl(?:pat|dt|rt|soat)-[\w-]{16,}".into(), 0),
        (r"\bxox[abeoprs]-[a-z0-9-]{8,}|\bxapp-[a-z0-9-]{8,}|hooks\.slack\.com/services/[\w/]+".into(), 0),
        (r"\b(?:sk|pk|rk)[_-](?:live|test|proj|ant)[_-][\w-]{8,}|\bsk-[a-z0-9]{20,}|\bwhsec_[\w+/=]{16,}".into(), 0),
        (r"\b(?-i:AIza)[\w-]{30,}|\bya29\.[\w-]{10,}|\bnpm_[a-z0-9]{30,}|\bpypi-[\w-]{30,}|\bSG\.[\w-]{16,}\.[\w-]{16,}|\bdop_v1_[a-f0-9]{32,}".into(), 0),
        (r"\b(?-i:eyJ)[\w-]{8,}\.(?:(?-i:eyJ)?[\w-]{4,})(?:\.[\w-]*)?".into(), 0),
        (r"[a-z][a-z0-9+.-]*://[^\s/:@]*:([^\s/@]+)@".into(), 1),
        (r"\b(?:bearer|basic)\s+([\w.~+/-]{12,}=*)".into(), 1),
        (named(r#"(?:"")?"((?:[^"\\\n]|\\.){3,})"?"#), 1),
        (named(r"(?:'')?'((?:[^'\\\n]|\\.){3,})'?"), 1),
        (named(r"`([^`\n]{3,})`?"), 1),
    ];
    table
        .into_iter()
        .filter_map(|(pattern, group)| {
            // A pattern that is not one would leave its secrets in the clear; the test counts them.
            let regex = RegexBuilder::new(&of_ascii(&pattern)).case_insensitive(true).build().ok()?;
            Some(Pattern { regex, group })
        })
        .collect()
});

/// `name: value` and `NAME=value` without quotes, as in YAML, `.env` and command lines: all of the token is the value.
static BARE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let pattern = format!(r#"\b([\w.-]*{NAMES}{REST})(\s*(?::=|[:=])\s*)([^\s"'`=>~:][^\s"'`]{{2,}})"#);
    RegexBuilder::new(&of_ascii(&pattern)).case_insensitive(true).build().ok()
});

/// With words of ASCII only: a key that stands directly behind a letter of another script, or an accent, begins there. And without
/// the table of every letter there is, which makes compiling slow, and every process that masks one text compiles. For the same reason
/// wide classes stand in `(?-i:...)`: they have all cases already.
fn of_ascii(pattern: &str) -> String {
    pattern.replace(r"\b", r"(?-u:\b)").replace(r"[\w", "[a-zA-Z0-9_").replace(r"\w", "[a-zA-Z0-9_]")
}

/// `ENV NAME value` of a Dockerfile: the rest of the line is the value.
static ENV: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let pattern = format!(r#"^\s*ENV\s+[^\s=]*{NAMES}{REST}\s+([^\s=][^\n]*)"#);
    RegexBuilder::new(&of_ascii(&pattern)).case_insensitive(true).multi_line(true).build().ok()
});

/// What stands for a value, rather than being one: a variable, a placeholder, a link, the beginning of an object or of a call.
static REFERENCE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r"^(?:\$\w+$|\$\{|\$\(|\{|\[|\(|%\w+%$|<[^>]*>$|&\w+$|\*\w+$|[a-z][a-z0-9+.-]*://|[\w.:>\[\]-]*[\w\]]\()",
    )
    .ok()
});

/// `other.name`, `Some::Type`, `pointer->member`, `None`: code, unless a digit says otherwise.
static NAME_ONLY: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"^[A-Za-z_]+(?:(?:\.|::|->|\?\.)[A-Za-z_]+)*(?:<[A-Za-z_<>,&:\[\]]*|\[[A-Za-z_.]*|\?)?$").ok()
});

/// The right-hand side of a line.
static ASSIGNED: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let pattern = r#"^(?:\s*ENV\s+[\w.-]+\s+|[^=:"'`\n]*(?::=|=>|[:=])[ \t]*)([^\s=>~][^\n]*)$"#;
    RegexBuilder::new(pattern).case_insensitive(true).multi_line(true).build().ok()
});

static WORDS: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"[A-Za-z0-9+/_=-]{20,}").ok());
static LITERALS: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r#""((?:[^"\\\n]|\\.)*)"?|'((?:[^'\\\n]|\\.)*)'?|`([^`]*)`?"#).ok());

/// What may be shown of a secret: up to four leading characters of a long one, none of a short one.
pub fn preview(secret: &str) -> String {
    let length = secret.chars().count();
    let kept: String = secret.chars().take(KEPT.min(length / 4)).take_while(|c| !c.is_whitespace()).collect();
    kept + MASK
}

/// Masks everything that looks like a secret.
pub fn mask(text: &str) -> String {
    let mut masked = Cow::Borrowed(text);
    for pattern in PATTERNS.iter() {
        masked = replace(masked, &pattern.regex, pattern.group, |_| true);
    }
    if let Some(env) = ENV.as_ref() {
        masked = replace(masked, env, 1, |value| !is_reference(value));
    }
    if let Some(bare) = BARE.as_ref() {
        masked = Cow::Owned(
            bare.replace_all(&masked, |found: &Captures<'_>| {
                let part = |group| found.get(group).map_or("", |m| m.as_str());
                let (name, between, token) = (part(1), part(2), part(3));
                // What closes a list or a call around it is not part of it.
                let value = token.trim_end_matches([',', ';', ')', ']', '}']);
                if value.ends_with(MASK) || !is_bare_secret(name, between, value) {
                    return part(0).to_owned();
                }
                format!("{name}{between}{}{}", preview(value), &token[value.len()..])
            })
            .into_owned(),
        );
    }
    if let Some(words) = WORDS.as_ref() {
        let before = masked.clone().into_owned();
        masked = Cow::Owned(
            words
                .replace_all(&before, |found: &Captures<'_>| {
                    let (start, word) = found.get(0).map_or((0, ""), |m| (m.start(), m.as_str()));
                    if is_random(word, &before[..start]) { preview(word) } else { word.to_owned() }
                })
                .into_owned(),
        );
    }
    masked.into_owned()
}

fn is_reference(value: &str) -> bool {
    REFERENCE.as_ref().is_some_and(|reference| reference.is_match(value))
}

/// Whether the value without quotes behind a secret's name is the secret. In a shell, in a Dockerfile and in `.env` every value is a
/// literal; elsewhere a plain word may be a type or a variable, and a short number a count.
fn is_bare_secret(name: &str, between: &str, value: &str) -> bool {
    if value.chars().count() < 3 || is_reference(value) {
        return false;
    }
    let literal = between == "=" && !name.bytes().any(|b| b.is_ascii_lowercase());
    if literal {
        return true;
    }
    if value.bytes().all(|b| b.is_ascii_digit()) {
        return value.len() >= 6;
    }
    !NAME_ONLY.as_ref().is_some_and(|names| names.is_match(value))
}

/// [`mask`], and every string literal whatever it looks like, and what is assigned without quotes: for rules that say "this is a
/// secret".
pub fn mask_literals(text: &str) -> String {
    let Some(literals) = LITERALS.as_ref() else { return MASK.to_owned() };
    let masked = literals.replace_all(text, |found: &Captures<'_>| {
        let whole = found.get(0).map_or("", |m| m.as_str());
        let inner = (1..=3).find_map(|group| found.get(group)).map_or("", |m| m.as_str());
        if inner.is_empty() { whole.to_owned() } else { whole.replacen(inner, &preview(inner), 1) }
    });
    // Where a literal is masked already, the rest of its line is code.
    let masked = match ASSIGNED.as_ref() {
        Some(assigned) => {
            replace(Cow::Owned(mask(&masked)), assigned, 1, |value| !value.contains(MASK) && !is_reference(value))
        }
        None => return MASK.to_owned(),
    };
    masked.into_owned()
}

/// Masks known secrets, wherever they stand.
pub fn mask_known<'a>(text: &str, secrets: impl IntoIterator<Item = &'a str>) -> String {
    let mut secrets: Vec<&str> = secrets.into_iter().filter(|secret| secret.trim().chars().count() >= 3).collect();
    // The longest first: one secret may be part of another.
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    secrets.iter().fold(text.to_owned(), |text, secret| {
        // Most are in most texts not, and looking is cheaper than copying.
        if text.contains(secret) { text.replace(secret, &preview(secret)) } else { text }
    })
}

fn replace<'a>(text: Cow<'a, str>, regex: &Regex, group: usize, wanted: impl Fn(&str) -> bool) -> Cow<'a, str> {
    if !regex.is_match(&text) {
        return text;
    }
    let replaced = regex.replace_all(&text, |found: &Captures<'_>| {
        let (whole, secret) = match (found.get(0), found.get(group)) {
            (Some(whole), Some(secret)) => (whole, secret),
            _ => return String::new(),
        };
        if secret.as_str().ends_with(MASK) || !wanted(secret.as_str()) {
            return whole.as_str().to_owned();
        }
        let (before, after) = (secret.start() - whole.start(), secret.end() - whole.start());
        format!("{}{}{}", &whole.as_str()[..before], preview(secret.as_str()), &whole.as_str()[after..])
    });
    Cow::Owned(replaced.into_owned())
}

/// Keys in hexadecimal and base64. Checksums and commit ids that say what they are stay readable.
fn is_random(word: &str, before: &str) -> bool {
    let hexadecimal = word.bytes().all(|b| b.is_ascii_hexdigit());
    if hexadecimal {
        let announced = before.ends_with('@') || before.ends_with("sha256:") || before.ends_with("sha512:");
        return word.len() >= 32 && !announced && entropy(word) > 3.0;
    }
    if before.ends_with("sha512-") || word.starts_with("sha512-") || word.starts_with("sha256-") {
        return false;
    }
    // A path has words in it; a key of that length hardly ever has.
    let is_word =
        |part: &str| part.len() >= 5 && part.bytes().all(|b| b.is_ascii_lowercase() || b == b'_' || b == b'-');
    if word.contains('/') && word.split('/').any(is_word) {
        return false;
    }
    // So has a name in camel case: most of it is runs of small letters.
    let runs = word.split(|c: char| !c.is_ascii_lowercase()).map(str::len).filter(|run| *run >= 4);
    if runs.sum::<usize>() * 10 >= word.len() * 6 {
        return false;
    }
    let digit = word.bytes().any(|b| b.is_ascii_digit());
    let upper = word.bytes().any(|b| b.is_ascii_uppercase());
    let lower = word.bytes().any(|b| b.is_ascii_lowercase());
    digit && upper && lower && entropy(word) > 4.0
}

/// Shannon entropy in bits per character.
fn entropy(word: &str) -> f64 {
    let mut counts: HashMap<u8, u32> = HashMap::new();
    for byte in word.bytes() {
        *counts.entry(byte).or_default() += 1;
    }
    let length = word.len() as f64;
    counts.values().map(|count| f64::from(*count) / length).map(|share| -share * share.log2()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_compiles() {
        assert_eq!(PATTERNS.len(), 12);
        for pattern in [&BARE, &ENV, &REFERENCE, &NAME_ONLY, &ASSIGNED, &WORDS, &LITERALS] {
            assert!(pattern.is_some());
        }
    }

    // The secrets are put together here, so that no scanner takes this file for a leak.
    #[test]
    fn secrets_are_masked_and_at_most_four_characters_stay() {
        let tail = "Q3Rk8Zp1XvT7mW2bN6cY9sLd4FgH5jKa";
        let key_id = format!("AKIA{}", "QWERTYUIOPASDFGH");
        let block = format!("-----BEGIN RSA {0}-----\nMIIEow{tail}\n-----END RSA {0}-----", "PRIVATE KEY");
        let cases = [
            (format!("id = {key_id}"), key_id[4..].to_owned()),
            (format!("export GH=ghp_{tail}"), tail.to_owned()),
            (format!("{{\"token\": \"xoxb-1234-{tail}\"}}"), tail.to_owned()),
            (format!("jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIx.{tail}"), tail.to_owned()),
            ("postgres://app:hunter2x@db/prod".to_owned(), "hunter2x".to_owned()),
            ("password = \"correct horse battery\"".to_owned(), "horse".to_owned()),
            ("const apiKey = 'abc-def-ghi'".to_owned(), "abc-def".to_owned()),
            ("'SECRET_KEY': 'lr66%-a!$km5'".to_owned(), "km5".to_owned()),
            ("  db_password: hunter22".to_owned(), "hunter22".to_owned()),
            ("DB_PASSWORD=hunter22x".to_owned(), "hunter22x".to_owned()),
            ("DB_PASSWORD=P4$$w0rd-x!".to_owned(), "w0rd".to_owned()),
            ("DB_PASSWORD=correct-horse!".to_owned(), "horse".to_owned()),
            ("password: s3cr.et99".to_owned(), "et99".to_owned()),
            ("  password: correct-horse".to_owned(), "horse".to_owned()),
            ("TOKEN=ab12,cd34ef".to_owned(), "cd34".to_owned()),
            ("ARG API_TOKEN=9f8.e7d6c5b4a3".to_owned(), "e7d6".to_owned()),
            ("ENV DB_PASSWORD hunter22x".to_owned(), "hunter22x".to_owned()),
            ("ENV DB_PASSWORD=hunter.22x OTHER=1".to_owned(), "22x".to_owned()),
            ("export AUTH_TOKEN=hunter;22x".to_owned(), "22x".to_owned()),
            ("connect(user=root, password=hunt3r)".to_owned(), "hunt3r".to_owned()),
            ("mysql --password=hunt.3r app".to_owned(), "hunt.3r".to_owned()),
            ("password=12345678".to_owned(), "345678".to_owned()),
            ("Possible hardcoded password: 'hunter22x'".to_owned(), "hunter22x".to_owned()),
            ("const password: string = \"hunter22x\"".to_owned(), "hunter22x".to_owned()),
            ("password: str = 'hunter22x'".to_owned(), "hunter22x".to_owned()),
            ("static PASSWORD: &'static str = \"hunter22x\";".to_owned(), "hunter22x".to_owned()),
            ("let token: Option<String> = \"hunter22x\"".to_owned(), "hunter22x".to_owned()),
            ("val password: String? = \"hunter22x\"".to_owned(), "hunter22x".to_owned()),
            ("var password string = \"hunter22x\"".to_owned(), "hunter22x".to_owned()),
            ("char password[] = \"hunter22x\";".to_owned(), "hunter22x".to_owned()),
            ("PASSWORD = b\"hunter22x\"".to_owned(), "hunter22x".to_owned()),
            ("PASSWORD = rb'hunter22x'".to_owned(), "hunter22x".to_owned()),
            ("PASSWORD = \"\"\"hunter22x\"\"\"".to_owned(), "hunter22x".to_owned()),
            ("secret := []byte(\"hunter22x\")".to_owned(), "hunter22x".to_owned()),
            ("password = new String(\"hunter22x\")".to_owned(), "hunter22x".to_owned()),
            ("let token = String::from(\"hunter22x\");".to_owned(), "hunter22x".to_owned()),
            ("if password == \"hunter22x\":".to_owned(), "hunter22x".to_owned()),
            ("if (password !== 'hunter22x') return".to_owned(), "hunter22x".to_owned()),
            ("password.equals(\"hunter22x\")".to_owned(), "hunter22x".to_owned()),
            ("password = \"ab\\\"hunter22x\"".to_owned(), "hunter22x".to_owned()),
            (block, tail.to_owned()),
            (format!("f({tail})"), tail.to_owned()),
            ("key 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b".to_owned(), "84c7d659".to_owned()),
            (format!("密码{key_id}"), key_id[4..].to_owned()),
            ("contraseña_token_privé: hunter22".to_owned(), "hunter22".to_owned()),
            ("ENV CLÉ_TOKEN hunter22".to_owned(), "hunter22".to_owned()),
        ];
        for (text, secret) in cases {
            let masked = mask(&text);
            assert!(!masked.contains(&secret), "{masked:?} still has {secret:?}");
            assert!(masked.contains(MASK), "{masked:?}");
            assert_eq!(masked, mask(&masked), "masking twice is masking once");
        }
    }

    #[test]
    fn code_without_secrets_stays_as_it_is() {
        for text in [
            "password = request.POST.get('p')",
            "subprocess.run(command, shell=True)",
            "uses: actions/checkout@8f4b7f84864484a7bf31766abe9204da3cbe65b3",
            "FROM debian@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            "if (token !== undefined) return next()",
            "password = settings.database.password",
            "if (token == other.token) {",
            "let token = Token::parse(line2)?;",
            "token: Option<String>,",
            "let token: Option<String> = find(\"name\");",
            "if token == other && name == \"root\" {",
            "password = os.getenv(\"DATABASE\")",
            "def login(user, password: str = None):",
            "  token: ${{ secrets.DEPLOY_2 }}",
            "DB_PASSWORD=$DB_PASSWORD_2",
            "PASSWORD=${PASSWORD:?not set}",
            "PASSWORD=$(cat /run/secrets/2)",
            "ENV DB_PASSWORD $PASSWORD_1",
            "auth_url: https://auth2.example.com/v1",
            "max_tokens=4096, salt=12",
            "password: <your-password-1>",
            "def check_password(self, password):",
            "introduction/templates/Lab/A9/a9_lab_number_two.html",
            "chatbotInsecureVerification_3_correct.ts: Parsing error",
            "const HibernateCriteriaBuilder2Support = 1",
        ] {
            assert_eq!(mask(text), text);
        }
    }

    #[test]
    fn literals_of_secret_rules_are_masked_whatever_they_look_like() {
        assert_eq!(mask_literals(r#"login("root", 'tiger')"#), r#"login("r****", 't****')"#);
        for text in [
            "password: hunter.22x",
            "password: hunter",
            "ENV PASSPHRASE hunter 22",
            "x := hunter-22",
            "ARG SECRET=hunter,22",
            "- name: key\n  value: hunter 22",
        ] {
            let masked = mask_literals(text);
            assert!(!masked.contains("hunter") && !masked.contains("22") && masked.contains(MASK), "{masked:?}");
            assert_eq!(masked, mask_literals(&masked));
        }
        assert_eq!(mask_literals("token = load(\"name\", 7)"), "token = load(\"n****\", 7)");
        assert_eq!(mask_literals("password = os.environ[x]"), "password = os.****");
        assert!(!mask_literals("x = \"never closed by the line").contains("closed"));
    }

    #[test]
    fn known_secrets_are_masked_the_longest_first() {
        assert_eq!(
            mask_known("a=opensesame b=opensesame-open", ["opensesame", "opensesame-open"]),
            "a=op**** b=ope****"
        );
    }

    #[test]
    fn a_preview_never_tells_more_than_four_characters() {
        for (secret, shown) in [("", "****"), ("abc", "****"), ("abcdefgh", "ab****"), (&"x".repeat(90), "xxxx****")] {
            assert_eq!(preview(secret), shown);
        }
    }
}
