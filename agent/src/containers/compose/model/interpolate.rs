use super::fault::{Checked, Fault};
use super::path::{Path, Table};
use super::template::fill;
use super::tree::{At, Tree, Value};
use super::variables::Variables;
use std::sync::LazyLock;

/// What a text becomes after its variables are filled in.
#[derive(Clone, Copy, Debug)]
enum Cast {
    Int,
    Float,
    Bool,
}

static CASTS: LazyLock<Table<Cast>> = LazyLock::new(|| {
    Table::new(&[
        ("services.*.cpu_count", Cast::Int),
        ("services.*.cpu_percent", Cast::Float),
        ("services.*.cpu_period", Cast::Int),
        ("services.*.cpu_quota", Cast::Int),
        ("services.*.cpu_rt_period", Cast::Int),
        ("services.*.cpu_rt_runtime", Cast::Int),
        ("services.*.cpus", Cast::Float),
        ("services.*.cpu_shares", Cast::Int),
        ("services.*.init", Cast::Bool),
        ("services.*.deploy.replicas", Cast::Int),
        ("services.*.deploy.update_config.parallelism", Cast::Int),
        ("services.*.deploy.update_config.max_failure_ratio", Cast::Float),
        ("services.*.deploy.rollback_config.parallelism", Cast::Int),
        ("services.*.deploy.rollback_config.max_failure_ratio", Cast::Float),
        ("services.*.deploy.restart_policy.max_attempts", Cast::Int),
        ("services.*.deploy.placement.max_replicas_per_node", Cast::Int),
        ("services.*.healthcheck.retries", Cast::Int),
        ("services.*.healthcheck.disable", Cast::Bool),
        ("services.*.oom_kill_disable", Cast::Bool),
        ("services.*.oom_score_adj", Cast::Int),
        ("services.*.pids_limit", Cast::Int),
        ("services.*.ports.[].target", Cast::Int),
        ("services.*.privileged", Cast::Bool),
        ("services.*.read_only", Cast::Bool),
        ("services.*.scale", Cast::Int),
        ("services.*.stdin_open", Cast::Bool),
        ("services.*.tty", Cast::Bool),
        ("services.*.ulimits.*", Cast::Int),
        ("services.*.ulimits.*.hard", Cast::Int),
        ("services.*.ulimits.*.soft", Cast::Int),
        ("services.*.volumes.[].read_only", Cast::Bool),
        ("services.*.volumes.[].volume.nocopy", Cast::Bool),
        ("networks.*.external", Cast::Bool),
        ("networks.*.internal", Cast::Bool),
        ("networks.*.attachable", Cast::Bool),
        ("networks.*.enable_ipv4", Cast::Bool),
        ("networks.*.enable_ipv6", Cast::Bool),
        ("volumes.*.external", Cast::Bool),
        ("secrets.*.external", Cast::Bool),
        ("configs.*.external", Cast::Bool),
    ])
});

/// Values into which variables were filled: a variable may hold a secret, so messages show what the file says.
#[derive(Debug, Default)]
pub struct Hidden(Vec<(String, String)>);

impl Hidden {
    /// Shows templates in place of what they became.
    pub fn hide(&self, fault: &mut Fault) {
        for (before, after) in &self.0 {
            fault.message = fault.message.replace(after, before);
        }
    }
}

/// By which the variables of one document may make it longer.
const MAX_GROWTH: usize = 4 << 20;

/// Fills variables into every text of a document and gives numbers and booleans their types.
pub fn interpolate(tree: &mut Tree, variables: &Variables) -> (Checked<()>, Vec<Fault>, Hidden) {
    let mut filler = Filler { variables, faults: Vec::new(), notes: Vec::new(), hidden: Hidden::default(), growth: 0 };
    filler.tree(tree, &mut Path::default());
    let Filler { faults, notes, hidden, .. } = filler;
    (if faults.is_empty() { Ok(()) } else { Err(faults) }, notes, hidden)
}

struct Filler<'a> {
    variables: &'a Variables,
    faults: Vec<Fault>,
    notes: Vec<Fault>,
    hidden: Hidden,
    growth: usize,
}

impl Filler<'_> {
    fn tree(&mut self, tree: &mut Tree, path: &mut Path) {
        let at = tree.at;
        match &mut tree.value {
            Value::Map(map) => {
                for (key, member) in map {
                    path.within(key, |path| self.tree(member, path));
                }
            }
            Value::List(items) => {
                for item in items {
                    path.within("[]", |path| self.tree(item, path));
                }
            }
            Value::Text(_) if self.growth > MAX_GROWTH => {}
            Value::Text(text) => match self.text(text, at, path) {
                Ok(value) => tree.value = value,
                Err(message) => self.faults.push(Fault::new(at, path, message)),
            },
            _ => {}
        }
    }

    fn text(&mut self, text: &str, at: At, path: &Path) -> Result<Value, String> {
        let filled = fill(text, self.variables)?;
        self.growth += filled.text.len().saturating_sub(text.len());
        if self.growth > MAX_GROWTH {
            return Err(format!("variables make the document longer by more than {} MiB here", MAX_GROWTH >> 20));
        }
        for name in filled.unset {
            let message = format!("the variable {name} is not set; empty text is used");
            self.notes.push(Fault::new(at, path, message));
        }
        // Short texts would be found everywhere.
        if filled.text != text && filled.text.len() > 2 {
            self.hidden.0.push((text.to_owned(), filled.text.clone()));
        }
        let Some(cast) = CASTS.find(path) else { return Ok(Value::Text(filled.text)) };
        cast_text(cast, &filled.text).ok_or_else(|| match cast {
            Cast::Int => format!("expected a whole number, found {text:?}"),
            Cast::Float => format!("expected a number, found {text:?}"),
            Cast::Bool => format!("expected true or false, found {text:?}"),
        })
    }
}

fn cast_text(cast: Cast, text: &str) -> Option<Value> {
    match cast {
        Cast::Int => text.parse().ok().map(Value::Int),
        Cast::Float => text.parse().ok().map(Value::Float),
        Cast::Bool => read_bool(text).map(Value::Bool),
    }
}

/// As Compose reads a boolean that stands as a text.
pub fn read_bool(text: &str) -> Option<bool> {
    match text.to_lowercase().as_str() {
        "true" | "y" | "yes" | "on" => Some(true),
        "false" | "n" | "no" | "off" => Some(false),
        _ => None,
    }
}
