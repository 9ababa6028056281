//! A trie of patterns, which finds all that match a name without trying each.
//!
//! A node is reached by literal bytes or by a wildcard. Matching follows all ways at once, byte by byte, as an automaton:
//! its time is the name's length times the ways that are open, whatever the number of patterns. A name opens few ways
//! unless patterns have wildcards that could end in several places, of which each has at most
//! [`SubscriptionPattern::DEPTH_MAX`](crate::rules::SubscriptionPattern::DEPTH_MAX).

use std::collections::HashSet;

use crate::rules::{ByteClass, MatchStep};

/// How many open wildcards are compared one by one before a set is used.
const LINEAR_MAX: usize = 16;

/// The index of the node for the empty pattern.
const ROOT: u32 = 0;

/// Patterns, each with a value.
pub struct PatternTrie<V> {
    nodes: Vec<TrieNode<V>>,
    /// Indexes that are free to be used again.
    free: Vec<u32>,
    patterns: usize,
}

struct TrieNode<V> {
    parent: u32,
    edge: Edge,
    /// The children by literal bytes, sorted by their first bytes, which differ.
    literals: Vec<(u8, u32)>,
    /// The children by wildcards.
    wildcards: Vec<u32>,
    /// Some: a pattern ends here.
    value: Option<V>,
}

/// How a node is reached from its parent.
#[derive(Debug)]
enum Edge {
    Literal(Box<[u8]>),
    One(ByteClass),
    Run(ByteClass),
}

impl Edge {
    fn is_wildcard(&self, step: MatchStep) -> bool {
        match (self, step) {
            (Self::One(own), MatchStep::One(class)) => *own == class,
            (Self::Run(own), MatchStep::Run(class)) => *own == class,
            _ => false,
        }
    }
}

impl<V> Default for PatternTrie<V> {
    fn default() -> Self {
        let root = TrieNode::new(ROOT, Edge::Literal(Box::default()));
        Self { nodes: vec![root], free: Vec::new(), patterns: 0 }
    }
}

impl<V> TrieNode<V> {
    fn new(parent: u32, edge: Edge) -> Self {
        Self { parent, edge, literals: Vec::new(), wildcards: Vec::new(), value: None }
    }

    fn literal(&self, first: u8) -> Result<usize, usize> {
        self.literals.binary_search_by_key(&first, |(first, _)| *first)
    }

    fn is_unused(&self) -> bool {
        self.value.is_none() && self.literals.is_empty() && self.wildcards.is_empty()
    }
}

impl<V> PatternTrie<V> {
    #[cfg(test)]
    fn is_empty(&self) -> bool {
        self.patterns == 0
    }

    /// The value of the pattern. None: the trie does not have it.
    pub fn get_mut(&mut self, steps: &[MatchStep]) -> Option<&mut V> {
        let node = self.find(steps)?;
        self.nodes[node as usize].value.as_mut()
    }

    /// The value of the pattern, which is added if the trie does not have it.
    pub fn get_or_insert_with(&mut self, steps: &[MatchStep], value: impl FnOnce() -> V) -> &mut V {
        let mut at = ROOT;
        let mut rest = steps;
        while let Some(step) = rest.first() {
            (at, rest) = match step {
                MatchStep::Byte(_) => {
                    let literal = literal_of(rest);
                    let (next, taken) = self.insert_literal(at, &literal);
                    (next, &rest[taken..])
                }
                wildcard => (self.insert_wildcard(at, *wildcard), &rest[1..]),
            };
        }
        let node = &mut self.nodes[at as usize];
        self.patterns += usize::from(node.value.is_none());
        node.value.get_or_insert_with(value)
    }

    /// Removes the pattern.
    pub fn remove(&mut self, steps: &[MatchStep]) -> Option<V> {
        let mut at = self.find(steps)?;
        let removed = self.nodes[at as usize].value.take()?;
        self.patterns -= 1;
        while at != ROOT && self.nodes[at as usize].is_unused() {
            let parent = self.nodes[at as usize].parent;
            let above = &mut self.nodes[parent as usize];
            above.literals.retain(|(_, child)| *child != at);
            above.wildcards.retain(|child| *child != at);
            above.literals.shrink_to(above.literals.len() * 2);
            self.nodes[at as usize].edge = Edge::Literal(Box::default());
            self.free.push(at);
            at = parent;
        }
        if self.patterns == 0 {
            *self = Self::default();
        }
        Some(removed)
    }

    /// Calls `found` once with the value of each pattern that matches the name.
    pub fn for_each_match<'a>(&'a self, name: &str, mut found: impl FnMut(&'a V)) {
        let mut ways = OpenWays::default();
        self.enter(ROOT, &mut ways);
        let mut next = OpenWays::default();
        for byte in name.bytes() {
            next.clear();
            for way in &ways.list {
                self.advance(*way, byte, &mut next);
            }
            std::mem::swap(&mut ways, &mut next);
            if ways.list.is_empty() {
                return;
            }
        }
        for Way { node, matched } in &ways.list {
            let node = &self.nodes[*node as usize];
            let is_complete =
                !matches!(&node.edge, Edge::Literal(literal) if literal.len() > *matched);
            if let Some(value) = node.value.as_ref().filter(|_| is_complete) {
                found(value);
            }
        }
    }

    /// Takes one byte on one way.
    fn advance(&self, Way { node: at, matched }: Way, byte: u8, next: &mut OpenWays) {
        let node = &self.nodes[at as usize];
        match &node.edge {
            Edge::Literal(literal) if matched < literal.len() => {
                match literal[matched] == byte {
                    true if matched + 1 == literal.len() => self.enter(at, next),
                    true => next.list.push(Way { node: at, matched: matched + 1 }),
                    false => {}
                }
                return;
            }
            Edge::Run(class) if class.takes(byte) => self.enter(at, next),
            _ => {}
        }
        if let Ok(found) = node.literal(byte) {
            let child = node.literals[found].1;
            self.advance(Way { node: child, matched: 0 }, byte, next);
        }
        for child in &node.wildcards {
            if matches!(self.nodes[*child as usize].edge, Edge::One(class) if class.takes(byte)) {
                self.enter(*child, next);
            }
        }
    }

    /// Opens the ways on from a node that has matched: on from it, and from the runs after it, which match nothing too.
    fn enter(&self, at: u32, ways: &mut OpenWays) {
        let node = &self.nodes[at as usize];
        let matched = match &node.edge {
            Edge::Literal(literal) => literal.len(),
            Edge::One(_) => 0,
            // A run is reached by its own byte and from the node before it.
            Edge::Run(_) if !ways.open_run(at) => return,
            Edge::Run(_) => 0,
        };
        ways.list.push(Way { node: at, matched });
        for child in &node.wildcards {
            if matches!(self.nodes[*child as usize].edge, Edge::Run(_)) {
                self.enter(*child, ways);
            }
        }
    }

    fn find(&self, steps: &[MatchStep]) -> Option<u32> {
        let mut at = ROOT;
        let mut rest = steps;
        while let Some(step) = rest.first() {
            let node = &self.nodes[at as usize];
            (at, rest) = match step {
                MatchStep::Byte(first) => {
                    let child = node.literals[node.literal(*first).ok()?].1;
                    let Edge::Literal(literal) = &self.nodes[child as usize].edge else {
                        return None;
                    };
                    let fits = literal_of(rest).starts_with(literal);
                    (fits.then_some(child)?, &rest[literal.len()..])
                }
                wildcard => (self.wildcard(at, *wildcard)?, &rest[1..]),
            };
        }
        Some(at)
    }

    fn wildcard(&self, at: u32, step: MatchStep) -> Option<u32> {
        let mut children = self.nodes[at as usize].wildcards.iter().copied();
        children.find(|child| self.nodes[*child as usize].edge.is_wildcard(step))
    }

    fn insert_wildcard(&mut self, at: u32, step: MatchStep) -> u32 {
        if let Some(child) = self.wildcard(at, step) {
            return child;
        }
        let edge = match step {
            MatchStep::One(class) => Edge::One(class),
            MatchStep::Run(class) => Edge::Run(class),
            MatchStep::Byte(byte) => Edge::Literal([byte].into()),
        };
        let child = self.add(TrieNode::new(at, edge));
        self.nodes[at as usize].wildcards.push(child);
        child
    }

    /// Goes as far as one child does, which is split where the literal differs. Returns how many bytes that are.
    fn insert_literal(&mut self, at: u32, literal: &[u8]) -> (u32, usize) {
        let place = match self.nodes[at as usize].literal(literal[0]) {
            Ok(found) => found,
            Err(place) => {
                let child = self.add(TrieNode::new(at, Edge::Literal(literal.into())));
                self.nodes[at as usize].literals.insert(place, (literal[0], child));
                return (child, literal.len());
            }
        };
        let child = self.nodes[at as usize].literals[place].1;
        let Edge::Literal(own) = &self.nodes[child as usize].edge else { return (child, 1) };
        let common = own.iter().zip(literal).take_while(|(a, b)| a == b).count();
        if common == own.len() {
            return (child, common);
        }
        let (before, after): (Box<[u8]>, Box<[u8]>) = (own[..common].into(), own[common..].into());
        let first = after[0];
        let middle = self.add(TrieNode::new(at, Edge::Literal(before)));
        self.nodes[middle as usize].literals.push((first, child));
        self.nodes[at as usize].literals[place].1 = middle;
        let node = &mut self.nodes[child as usize];
        (node.parent, node.edge) = (middle, Edge::Literal(after));
        (middle, common)
    }

    fn add(&mut self, node: TrieNode<V>) -> u32 {
        match self.free.pop() {
            Some(at) => {
                self.nodes[at as usize] = node;
                at
            }
            None => {
                let at = self.nodes.len() as u32;
                self.nodes.push(node);
                at
            }
        }
    }
}

/// The literal bytes at the start of the steps.
fn literal_of(steps: &[MatchStep]) -> Vec<u8> {
    let bytes = steps.iter().map_while(|step| match step {
        MatchStep::Byte(byte) => Some(*byte),
        _ => None,
    });
    bytes.collect()
}

/// A node, and how many of its literal bytes have matched.
#[derive(Clone, Copy)]
struct Way {
    node: u32,
    matched: usize,
}

/// The ways that match the bytes so far, each once.
#[derive(Default)]
struct OpenWays {
    list: Vec<Way>,
    /// The runs among them. Only a run can be reached in two ways.
    runs: Vec<u32>,
    /// The same, once they are many.
    many_runs: HashSet<u32>,
}

impl OpenWays {
    fn clear(&mut self) {
        self.list.clear();
        self.runs.clear();
        self.many_runs.clear();
    }

    /// False: it is open already.
    fn open_run(&mut self, node: u32) -> bool {
        if self.runs.len() < LINEAR_MAX {
            if self.runs.contains(&node) {
                return false;
            }
            self.runs.push(node);
            return true;
        }
        !self.runs.contains(&node) && self.many_runs.insert(node)
    }
}

#[cfg(test)]
mod tests;
