//! The shape of the pages that people write, and the links between them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

use super::path;

/// Lines of a page. A longer page has more than one task.
const LINES_MAX: usize = 400;

/// Marks a generated page, which is as long as the list in it.
const GENERATED: &str = "<!-- Made from the code by `make docs`. -->";

/// A Markdown file, without its code blocks.
struct Page {
    lines: Vec<String>,
    anchors: BTreeSet<String>,
    links: Vec<String>,
    /// What follows the opening fence of each code block.
    languages: Vec<String>,
}

impl Page {
    fn read(file: &Path) -> Self {
        let text = fs::read_to_string(path("").join(file)).expect("a page is UTF-8");
        let mut fenced = false;
        let mut languages = Vec::new();
        let outside_of_fences = text.lines().filter(|line| match line.trim().strip_prefix("```") {
            Some(language) => {
                fenced = !fenced;
                languages.extend(fenced.then(|| language.to_owned()));
                false
            }
            None => !fenced,
        });
        let lines: Vec<String> = outside_of_fences.map(str::to_owned).collect();
        Self { anchors: anchors(&lines), links: links(&lines), lines, languages }
    }
}

/// The anchors that GitHub makes of headings: a repeated heading gets the suffix `-1`, `-2` ….
fn anchors(lines: &[String]) -> BTreeSet<String> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let headings = lines.iter().filter(|line| line.starts_with('#'));
    let slugs = headings.map(|line| {
        let heading = line.trim_start_matches('#').trim().to_lowercase();
        let kept = heading.chars().filter(|it| it.is_alphanumeric() || " -_".contains(*it));
        kept.map(|it| if it == ' ' { '-' } else { it }).collect::<String>()
    });
    slugs
        .map(|slug| {
            let count = seen.entry(slug.clone()).or_default();
            *count += 1;
            if *count == 1 { slug } else { format!("{slug}-{}", *count - 1) }
        })
        .collect()
}

/// How a link or an image begins, and the character after its target.
const LINKS: [(&str, char); 4] =
    [("](", ')'), ("href=\"", '"'), ("src=\"", '"'), ("srcset=\"", '"')];

/// The targets of links and images, in Markdown and in HTML, outside of code spans.
fn links(lines: &[String]) -> Vec<String> {
    let text = lines.join("\n");
    let without_code: String = text.split('`').step_by(2).collect();
    let targets = LINKS.iter().flat_map(|(start, end)| {
        let rests = without_code.split(start).skip(1);
        rests.filter_map(|rest| rest.split_once(*end)).map(|(target, _)| target.to_owned())
    });
    targets.collect()
}

/// The files of the repository below a directory whose names end so, by their paths in it.
pub fn files_below(directory: &Path, ending: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut directories = vec![directory.to_path_buf()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(path("").join(&directory)).expect("a directory is readable") {
            let entry = entry.expect("an entry is readable");
            let name = entry.file_name().to_string_lossy().into_owned();
            let file = directory.join(&name);
            let kind = entry.file_type().expect("an entry has a type");
            if kind.is_dir() && ![".git", "target", "node_modules"].contains(&&*name) {
                directories.push(file);
            } else if kind.is_file() && name.ends_with(ending) {
                files.push(file);
            }
        }
    }
    files.sort();
    files
}

/// All Markdown files of the repository, by their paths in it.
fn pages() -> BTreeMap<PathBuf, Page> {
    let files = files_below(Path::new(""), ".md").into_iter();
    files.map(|file| (file.clone(), Page::read(&file))).collect()
}

pub fn is_generated(text: &str) -> bool {
    text.contains(GENERATED)
}

/// The file that a link of `page` leads to, by its path in the repository, and the anchor in it.
/// `None` for a link to another host.
fn target<'a>(page: &Path, link: &'a str) -> Option<(PathBuf, &'a str)> {
    if link.starts_with("http") {
        return None;
    }
    let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
    let mut target = page.parent().unwrap_or(Path::new("")).to_path_buf();
    match file {
        "" => target = page.to_path_buf(),
        file => {
            for component in Path::new(file).components() {
                match component {
                    Component::ParentDir => _ = target.pop(),
                    component => target.push(component),
                }
            }
        }
    }
    Some((target, anchor))
}

#[test]
fn every_link_between_pages_leads_to_a_file_and_an_anchor_that_exist() {
    let pages = pages();
    let mut faults = Vec::new();
    for (file, page) in &pages {
        for link in &page.links {
            let Some((target, anchor)) = target(file, link) else { continue };
            let exists = match pages.get(&target) {
                Some(page) => anchor.is_empty() || page.anchors.contains(anchor),
                None => path("").join(&target).exists(),
            };
            if !exists {
                faults.push(format!("{} links to {link}", file.display()));
            }
        }
    }
    assert!(faults.is_empty(), "these links lead nowhere:\n{}", faults.join("\n"));
}

#[test]
fn every_page_of_docs_is_reached_by_links_from_the_index() {
    let pages = pages();
    let mut reached = BTreeSet::new();
    let mut queue = vec![PathBuf::from("docs/README.md")];
    while let Some(file) = queue.pop() {
        let Some(page) = pages.get(&file) else { continue };
        if file.starts_with("docs") && reached.insert(file.clone()) {
            queue.extend(page.links.iter().filter_map(|link| Some(target(&file, link)?.0)));
        }
    }
    let all = pages.keys().filter(|file| file.starts_with("docs"));
    let lost: Vec<_> = all.filter(|file| !reached.contains(*file)).collect();
    assert!(lost.is_empty(), "no link leads from docs/README.md to {lost:?}");
}

#[test]
fn every_written_page_of_docs_has_at_most_400_lines() {
    for file in pages().keys().filter(|file| file.starts_with("docs")) {
        let text = fs::read_to_string(path("").join(file)).expect("a page is UTF-8");
        let lines = text.lines().count();
        assert!(
            lines <= LINES_MAX || is_generated(&text),
            "{} has {lines} lines; split it by task",
            file.display()
        );
    }
}

#[test]
fn every_page_of_docs_starts_with_a_title_and_a_paragraph() {
    for (file, page) in pages().iter().filter(|(file, _)| file.starts_with("docs")) {
        let mut lines = page.lines.iter().map(String::as_str);
        let title = lines.next().unwrap_or_default();
        assert!(title.starts_with("# "), "{} starts with {title:?}, no title", file.display());
        let first = lines.find(|line| !line.is_empty() && !line.starts_with("<!--"));
        let first = first.unwrap_or_default();
        let is_paragraph = first.starts_with(|it: char| it.is_alphanumeric() || "`*[".contains(it))
            && !first.starts_with("* ");
        assert!(is_paragraph, "{}: {first:?} follows the title, no paragraph", file.display());
    }
}

#[test]
fn every_code_block_names_its_language() {
    for (file, page) in pages() {
        let unnamed = page.languages.iter().filter(|language| language.is_empty()).count();
        assert!(unnamed == 0, "{} has {unnamed} code blocks without a language", file.display());
    }
}
