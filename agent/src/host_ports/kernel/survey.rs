use super::command;
use super::rules::MARK;
use serde_json::Value;

/// The engine's chain for the operator's own rules: it leaves what stands there alone, also when it is restarted.
const CHAIN: &str = "DOCKER-USER";
const COMMENT: &str = "hostwright: published ports";

/// What the host's packet filter does with what arrives and what is forwarded.
#[derive(Debug)]
pub struct Survey {
    /// Our table as nft shows it; null where it is not there.
    pub own: Value,
    /// Whether a rule of ours has to let connections pass, and is not there.
    lacks_pass: bool,
}

impl Survey {
    /// Looks at all of it; an error says why the kernel's way is not for this host.
    pub async fn make(table: &str) -> Result<Self, String> {
        let ruleset = parsed(&command::nft_ruleset().await?)?;
        let old_tables = std::fs::read_to_string("/proc/net/ip_tables_names").unwrap_or_default();
        let is_old_filter_there = old_tables.lines().any(|name| name == "filter");
        let has_new_filter = objects(&ruleset, "chain").any(|chain| place(chain) == ("ip", "filter", "FORWARD"));
        let mut lacks_pass = false;
        if is_old_filter_there || has_new_filter {
            let variant = command::iptables(&["--version"]).await?;
            if is_old_filter_there && variant.contains("nf_tables") {
                return Err("both variants of iptables filter here, the old one and that of nftables".to_owned());
            }
            lacks_pass = pass(&command::iptables(&["-S"]).await?)?;
        }
        foreign(&ruleset)?;
        Ok(Self { own: own(&ruleset, table), lacks_pass })
    }

    /// Our table as nft shows it.
    pub async fn shown(table: &str) -> Result<Value, String> {
        Ok(own(&parsed(&command::nft_ruleset().await?)?, table))
    }

    /// Lets our connections pass, in both directions, where the filter would stop them.
    pub async fn accept(&self) -> Result<(), String> {
        if !self.lacks_pass {
            return Ok(());
        }
        let mark = format!("{MARK:#x}/{MARK:#x}");
        command::iptables(&[&["-w", "3", "-I", CHAIN, "1"], arguments(&mark).as_slice()].concat()).await.map(drop)
    }
}

/// Takes the rule away that lets our connections pass.
pub async fn withdraw() {
    let mark = format!("{MARK:#x}/{MARK:#x}");
    // Where it is not there this fails, and nothing is to be done.
    let _ = command::iptables(&[&["-w", "3", "-D", CHAIN], arguments(&mark).as_slice()].concat()).await;
}

fn arguments(mark: &str) -> [&str; 10] {
    ["-m", "connmark", "--mark", mark, "-m", "comment", "--comment", COMMENT, "-j", "ACCEPT"]
}

fn parsed(text: &str) -> Result<Value, String> {
    serde_json::from_str(text)
        .map_err(|error| format!("what nft says of the host's rules cannot be understood: {error}"))
}

/// The chains or rules among what nft lists.
fn objects<'v>(ruleset: &'v Value, kind: &'static str) -> impl Iterator<Item = &'v Value> {
    ruleset["nftables"].as_array().into_iter().flatten().filter_map(move |object| object.get(kind))
}

/// Family, table and chain.
fn place(object: &Value) -> (&str, &str, &str) {
    let word = |key: &str| object[key].as_str().unwrap_or_default();
    let chain = object.get("chain").or_else(|| object.get("name"));
    (word("family"), word("table"), chain.and_then(Value::as_str).unwrap_or_default())
}

fn own(ruleset: &Value, table: &str) -> Value {
    let is_own = |object: &&Value| matches!(place(object), ("ip", other, _) if other == table);
    Value::Array(objects(ruleset, "chain").chain(objects(ruleset, "rule")).filter(is_own).cloned().collect())
}

/// Refuses chains that say what may arrive or be forwarded: those for what arrives would be gone past, and the others
/// may stop what the rules send.
fn foreign(ruleset: &Value) -> Result<(), String> {
    for chain in objects(ruleset, "chain") {
        let (family, table, name) = place(chain);
        let hook = chain["hook"].as_str().unwrap_or_default();
        // FORWARD is looked at by itself; mangle and security change packets and labels.
        if !matches!((family, hook), ("ip" | "inet", "input" | "forward"))
            || (family, table, name) == ("ip", "filter", "FORWARD")
            || (family == "ip" && matches!(table, "mangle" | "security"))
            || chain["type"] == "nat"
        {
            continue;
        }
        let has_rules = objects(ruleset, "rule").any(|rule| place(rule) == (family, table, name));
        if has_rules || chain["policy"] == "drop" {
            return Err(format!(
                "the host's packet filter has rules of its own (table {family} {table}, chain {name}), which would not \
                 count for connections that the kernel forwards"
            ));
        }
    }
    Ok(())
}

/// Whether our rule is still to be put into the engine's chain; an error where that would not do. `rules` is what
/// `iptables -S` says.
fn pass(rules: &str) -> Result<bool, String> {
    let of = |chain: &str| {
        let begin = format!("-A {chain} ");
        rules.lines().filter_map(move |line| line.strip_prefix(&begin).map(str::trim))
    };
    if of("INPUT").next().is_some() || rules.lines().any(|line| line == "-P INPUT DROP") {
        return Err(
            "iptables has rules for what arrives (chain INPUT), which would not count for connections that the kernel \
             forwards"
                .to_owned(),
        );
    }
    let mark = format!("--mark {MARK:#x}/{MARK:#x}");
    let is_ours = |rule: &&str| rule.contains(COMMENT) && rule.contains(&mark) && rule.ends_with("-j ACCEPT");
    match of("FORWARD").next() {
        None if !rules.lines().any(|line| line == "-P FORWARD DROP") => return Ok(false),
        Some("-j DOCKER-USER") => {}
        // Podman's own, which only let pass; its policy is the host's.
        Some(_) if of("FORWARD").all(is_podmans) && !rules.lines().any(|line| line == "-P FORWARD DROP") => {
            return Ok(false);
        }
        first => {
            let first = first.unwrap_or("-P FORWARD DROP");
            return Err(format!(
                "iptables decides on what is forwarded before the engine's chain {CHAIN} (\"{first}\" in FORWARD)"
            ));
        }
    }
    let all: Vec<&str> = of(CHAIN).collect();
    let others = all.iter().filter(|rule| !is_ours(rule));
    // The engine's own last line.
    if let Some(other) = others.clone().find(|rule| **rule != "-j RETURN") {
        return Err(format!("the chain {CHAIN} has rules of an operator (\"{other}\")"));
    }
    let place_of = |wanted: &dyn Fn(&&str) -> bool| all.iter().position(wanted);
    let is_in_place = place_of(&is_ours).is_some_and(|ours| ours == 0);
    Ok(!is_in_place)
}

fn is_podmans(rule: &str) -> bool {
    let target = rule.split_ascii_whitespace().skip_while(|word| *word != "-j").nth(1).unwrap_or_default();
    ["NETAVARK_FORWARD", "CNI-FORWARD", "CNI-ISOLATION-STAGE-1"].contains(&target)
}

#[cfg(test)]
mod tests {
    use super::{foreign, own, pass};
    use serde_json::json;

    const ENGINE: &str = "-P INPUT ACCEPT\n-P FORWARD DROP\n-N DOCKER-USER\n-A FORWARD -j DOCKER-USER\n\
                          -A FORWARD -o br-1 -j DOCKER\n";
    const OURS: &str = "-A DOCKER-USER -m connmark --mark 0x8000000/0x8000000 -m comment --comment \
                        \"hostwright: published ports\" -j ACCEPT\n";

    #[test]
    fn our_rule_stands_in_the_engines_chain_alone() {
        let of = |more: &str| pass(&format!("{ENGINE}{more}"));
        assert_eq!(of(""), Ok(true));
        assert_eq!(of("-A DOCKER-USER -j RETURN\n"), Ok(true));
        assert_eq!(of(&format!("{OURS}-A DOCKER-USER -j RETURN\n")), Ok(false));
        assert_eq!(of(&format!("-A DOCKER-USER -j RETURN\n{OURS}")), Ok(true), "never reached");
        let restricted = of(&format!("{OURS}-A DOCKER-USER -i eth0 ! -s 192.0.2.0/24 -j DROP\n"));
        assert!(restricted.is_err_and(|why| why.contains("rules of an operator")));
    }

    #[test]
    fn a_filter_that_would_be_gone_past_or_would_stop_what_is_forwarded_is_respected() {
        for rules in [
            "-P INPUT DROP\n-P FORWARD ACCEPT\n",
            "-P INPUT ACCEPT\n-P FORWARD ACCEPT\n-A INPUT -j ufw-before-input\n",
            "-P INPUT ACCEPT\n-P FORWARD DROP\n",
            "-P INPUT ACCEPT\n-P FORWARD ACCEPT\n-A FORWARD -j ts-forward\n-A FORWARD -j DOCKER-USER\n",
        ] {
            assert!(pass(rules).is_err(), "{rules}");
        }
        assert_eq!(pass("-P INPUT ACCEPT\n-P FORWARD ACCEPT\n"), Ok(false));
        let podmans =
            "-P INPUT ACCEPT\n-P FORWARD ACCEPT\n-A FORWARD -m comment --comment \"a b\" -j NETAVARK_FORWARD\n";
        assert_eq!(pass(podmans), Ok(false));
        assert!(pass(&podmans.replace("FORWARD ACCEPT", "FORWARD DROP")).is_err());

        let chain = |family: &str, table: &str, hook: &str, policy: &str| json!({"chain": {"family": family, "table": table, "name": "c", "hook": hook, "policy": policy}});
        let rule = json!({"rule": {"family": "inet", "table": "filter", "chain": "c", "expr": []}});
        let judge = |objects: &[&serde_json::Value]| foreign(&json!({"nftables": objects})).is_ok();
        let open = chain("inet", "filter", "input", "accept");
        assert!(judge(&[&open]));
        assert!(!judge(&[&open, &rule]));
        assert!(!judge(&[&chain("inet", "filter", "forward", "drop")]));
        assert!(judge(&[&chain("ip6", "filter", "forward", "drop"), &chain("inet", "filter", "output", "drop")]));
        assert!(own(&json!({"nftables": [open]}), "hostwright").as_array().is_some_and(Vec::is_empty));
    }
}
