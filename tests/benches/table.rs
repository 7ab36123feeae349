use anyhow::Result;
use serde_json::{Value, json};
use std::fmt::Write;

/// What is to be reached.
#[derive(Clone, Copy, Debug)]
pub enum Goal {
    AtLeast(f64),
    AtMost(f64),
    TimesPeer(f64),
    /// At most one part in so many of the peer's.
    ShareOfPeer(u32),
    /// It is told beside another figure.
    None,
}

/// A kind of work, what it costs us and what it costs another program in the same run.
#[derive(Debug)]
struct Row {
    work: String,
    unit: &'static str,
    ours: Result<f64, String>,
    peer: Option<Result<f64, String>>,
    goal: Goal,
}

/// All that was measured.
#[derive(Debug)]
pub struct Table {
    rows: Vec<Row>,
    only: String,
}

impl Table {
    /// Of the works that have `only` in their names.
    pub fn new(only: String) -> Self {
        Self { rows: Vec::new(), only }
    }

    /// Whether a work is to be done.
    pub fn wants(&self, work: &str) -> bool {
        work.contains(&self.only)
    }

    /// Adds a figure, which is told at once; one that could not be had does not end the others.
    pub fn add(
        &mut self,
        (work, unit): (&str, &'static str),
        goal: Goal,
        ours: Result<f64>,
        peer: Option<Result<f64>>,
    ) {
        let told = |error: anyhow::Error| format!("{error:#}");
        let row =
            Row { work: work.to_owned(), unit, ours: ours.map_err(told), peer: peer.map(|p| p.map_err(told)), goal };
        let [work, ours, peer, _, goal, met] = row.cells();
        let of_peer = if peer.is_empty() { String::new() } else { format!(", peer {peer}") };
        println!("{work}: {ours}{of_peer}; goal {goal}: {met}");
        for error in
            [row.ours.as_ref().err(), row.peer.as_ref().and_then(|peer| peer.as_ref().err())].into_iter().flatten()
        {
            println!("    {error}");
        }
        self.rows.push(row);
    }

    pub fn text(&self) -> String {
        let head = ["work", "ours", "peer", "ratio", "goal", "met?"].map(str::to_owned);
        let lines: Vec<_> = std::iter::once(head).chain(self.rows.iter().map(Row::cells)).collect();
        let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
        let mut text = String::new();
        for line in &lines {
            let cells: Vec<_> = line
                .iter()
                .enumerate()
                .map(|(column, cell)| format!("{cell:<width$}", width = width(column)))
                .collect();
            // Writing to memory does not fail.
            let _ = writeln!(text, "{}", cells.join("  ").trim_end());
        }
        text
    }

    pub fn json(&self) -> Value {
        let of =
            |figure: &Result<f64, String>| figure.as_ref().map_or_else(|error| json!({"error": error}), |f| json!(f));
        let row = |row: &Row| {
            json!({
                "work": row.work,
                "unit": row.unit,
                "ours": of(&row.ours),
                "peer": row.peer.as_ref().map(of),
                "ratio": row.ratio(),
                "goal": row.goal_text(),
                "met": row.met(),
            })
        };
        self.rows.iter().map(row).collect()
    }
}

impl Row {
    fn ratio(&self) -> Option<f64> {
        let peer = *self.peer.as_ref()?.as_ref().ok()?;
        Some(*self.ours.as_ref().ok()? / peer).filter(|ratio| ratio.is_finite())
    }

    fn met(&self) -> Option<bool> {
        let ours = *self.ours.as_ref().ok()?;
        match self.goal {
            Goal::AtLeast(goal) => Some(ours >= goal),
            Goal::AtMost(goal) => Some(ours <= goal),
            Goal::TimesPeer(times) => Some(self.ratio()? >= times),
            Goal::ShareOfPeer(parts) => Some(self.ratio()? <= 1.0 / f64::from(parts)),
            Goal::None => None,
        }
    }

    fn goal_text(&self) -> String {
        match self.goal {
            Goal::AtLeast(goal) => format!(">= {}", rounded(goal)),
            Goal::AtMost(goal) => format!("<= {}", rounded(goal)),
            Goal::TimesPeer(times) => format!(">= {times} x peer"),
            Goal::ShareOfPeer(parts) => format!("<= peer / {parts}"),
            Goal::None => "-".into(),
        }
    }

    fn cells(&self) -> [String; 6] {
        let figure = |figure: &Result<f64, String>| figure.as_ref().map_or("failed".into(), |f| rounded(*f));
        [
            format!("{} ({})", self.work, self.unit),
            figure(&self.ours),
            self.peer.as_ref().map(figure).unwrap_or_default(),
            self.ratio().map(|ratio| format!("{ratio:.2}")).unwrap_or_default(),
            self.goal_text(),
            self.met().map_or("-", |met| if met { "yes" } else { "NO" }).into(),
        ]
    }
}

fn rounded(figure: f64) -> String {
    match figure.abs() {
        0.0..10.0 => format!("{figure:.2}"),
        10.0..100.0 => format!("{figure:.1}"),
        _ => format!("{figure:.0}"),
    }
}
