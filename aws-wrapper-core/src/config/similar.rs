//! What an unknown name may have been meant to be.

use super::parameter::{Parameter, normalized, quoted};
use crate::error::Error;

/// The error for a name nobody knows, with the names that may have been meant.
pub(super) fn unknown(name: &str, known: impl Iterator<Item = &'static Parameter>) -> Error {
    let similar = similar(name, known);
    let shown = name.chars().take(64).collect::<String>();
    Error::config(if similar.is_empty() {
        format!("unknown parameter `{shown}`: neither the wrapper nor the driver has one of this name")
    } else {
        format!("unknown parameter `{shown}`; did you mean {}?", quoted(&similar).replace(", ", " or "))
    })
}

/// Names within two typing mistakes, else names that begin alike, the best first; at most four.
fn similar(name: &str, known: impl Iterator<Item = &'static Parameter>) -> Vec<&'static str> {
    /// Letters that must agree at the start of a name to make it similar.
    const ALIKE: usize = 8;
    let name = normalized(name);
    let mistakes = (name.len() / 3).min(2);
    let mut near: Vec<(usize, &'static str)> = Vec::new();
    let mut family: Vec<(usize, &'static str)> = Vec::new();
    for parameter in known {
        let spellings =
            || std::iter::once(&parameter.name).chain(parameter.aliases).map(|name| normalized(name));
        let distance =
            spellings().map(|spelling| edit_distance(&spelling, &name)).min().unwrap_or(usize::MAX);
        let common = spellings().map(|spelling| common_prefix(&spelling, &name)).max().unwrap_or(0);
        if distance <= mistakes {
            near.push((distance, parameter.name));
        } else if common >= ALIKE {
            family.push((usize::MAX - common, parameter.name));
        }
    }
    let mut best = if near.is_empty() { family } else { near };
    best.sort_by_key(|(rank, _)| *rank);
    let closest = best.first().map(|(rank, _)| *rank);
    best.iter().filter(|(rank, _)| Some(*rank) == closest).map(|(_, name)| *name).take(4).collect()
}

fn common_prefix(a: &str, b: &str) -> usize {
    a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count()
}

/// How many letters must be put in, left out or exchanged to make `a` of `b`.
fn edit_distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let exchanged = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = exchanged.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
