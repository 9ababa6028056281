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

/// No node.
const NONE: u32 = u32::MAX;

/// The most literal bytes of one node, so that they are beside the rest of it in memory.
const LITERAL_MAX: usize = 14;

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
    /// The first child by a wildcard.
    wildcard: u32,
    /// The next child by a wildcard of the same parent.
    sibling: u32,
    /// Some: a pattern ends here.
    value: Option<V>,
}

/// How a node is reached from its parent.
#[derive(Clone, Copy, Debug)]
enum Edge {
    Literal(ShortLiteral),
    One(ByteClass),
    Run(ByteClass),
}

/// 0 to [`LITERAL_MAX`] bytes.
#[derive(Clone, Copy, Debug, Default)]
struct ShortLiteral {
    length: u8,
    bytes: [u8; LITERAL_MAX],
}

impl ShortLiteral {
    /// The first bytes of the literal.
    fn new(literal: &[u8]) -> Self {
        let length = literal.len().min(LITERAL_MAX);
        let mut bytes = [0; LITERAL_MAX];
        bytes[..length].copy_from_slice(&literal[..length]);
        Self { length: length as u8, bytes }
    }

    fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    fn len(&self) -> usize {
        usize::from(self.length)
    }
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
        let root = TrieNode::new(ROOT, Edge::Literal(ShortLiteral::default()));
        Self { nodes: vec![root], free: Vec::new(), patterns: 0 }
    }
}

impl<V> TrieNode<V> {
    fn new(parent: u32, edge: Edge) -> Self {
        let (wildcard, sibling) = (NONE, NONE);
        Self { parent, edge, literals: Vec::new(), wildcard, sibling, value: None }
    }

    fn literal(&self, first: u8) -> Result<usize, usize> {
        self.literals.binary_search_by_key(&first, |(first, _)| *first)
    }

    fn is_unused(&self) -> bool {
        self.value.is_none() && self.literals.is_empty() && self.wildcard == NONE
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
            above.literals.shrink_to(above.literals.len() * 2);
            self.unlink_wildcard(parent, at);
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
                match literal.bytes[matched] == byte {
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
        for child in self.wildcards(node) {
            if matches!(self.nodes[child as usize].edge, Edge::One(class) if class.takes(byte)) {
                self.enter(child, next);
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
        for child in self.wildcards(node) {
            if matches!(self.nodes[child as usize].edge, Edge::Run(_)) {
                self.enter(child, ways);
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
                    let fits = literal_of(rest).starts_with(literal.as_slice());
                    (fits.then_some(child)?, &rest[literal.len()..])
                }
                wildcard => (self.wildcard(at, *wildcard)?, &rest[1..]),
            };
        }
        Some(at)
    }

    /// The children by wildcards.
    fn wildcards(&self, node: &TrieNode<V>) -> impl Iterator<Item = u32> {
        let mut next = node.wildcard;
        std::iter::from_fn(move || {
            let found = (next != NONE).then_some(next)?;
            next = self.nodes[found as usize].sibling;
            Some(found)
        })
    }

    /// Removes a child from the children by wildcards, if it is one.
    fn unlink_wildcard(&mut self, parent: u32, child: u32) {
        let after = self.nodes[child as usize].sibling;
        if self.nodes[parent as usize].wildcard == child {
            self.nodes[parent as usize].wildcard = after;
            return;
        }
        let is_before = |it: &u32| self.nodes[*it as usize].sibling == child;
        let before = self.wildcards(&self.nodes[parent as usize]).find(is_before);
        if let Some(before) = before {
            self.nodes[before as usize].sibling = after;
        }
    }

    fn wildcard(&self, at: u32, step: MatchStep) -> Option<u32> {
        let mut children = self.wildcards(&self.nodes[at as usize]);
        children.find(|child| self.nodes[*child as usize].edge.is_wildcard(step))
    }

    fn insert_wildcard(&mut self, at: u32, step: MatchStep) -> u32 {
        if let Some(child) = self.wildcard(at, step) {
            return child;
        }
        let edge = match step {
            MatchStep::One(class) => Edge::One(class),
            MatchStep::Run(class) => Edge::Run(class),
            MatchStep::Byte(byte) => Edge::Literal(ShortLiteral::new(&[byte])),
        };
        let sibling = self.nodes[at as usize].wildcard;
        let child = self.add(TrieNode { sibling, ..TrieNode::new(at, edge) });
        self.nodes[at as usize].wildcard = child;
        child
    }

    /// Goes as far as one child does, which is split where the literal differs. Returns how many bytes that are.
    fn insert_literal(&mut self, at: u32, literal: &[u8]) -> (u32, usize) {
        let place = match self.nodes[at as usize].literal(literal[0]) {
            Ok(found) => found,
            Err(place) => {
                let own = ShortLiteral::new(literal);
                let child = self.add(TrieNode::new(at, Edge::Literal(own)));
                self.nodes[at as usize].literals.insert(place, (literal[0], child));
                return (child, own.len());
            }
        };
        let child = self.nodes[at as usize].literals[place].1;
        let Edge::Literal(own) = self.nodes[child as usize].edge else { return (child, 1) };
        let common = own.as_slice().iter().zip(literal).take_while(|(a, b)| a == b).count();
        if common == own.len() {
            return (child, common);
        }
        let (before, after) = own.as_slice().split_at(common);
        let (first, before, after) =
            (after[0], ShortLiteral::new(before), ShortLiteral::new(after));
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
