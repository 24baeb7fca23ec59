//! The texts of the repository: what they promise is there.

use std::path::Path;

use crate::{files, read, root};

const FACTS: &str = "docs/kernel-interface.md";

/// A newcomer reads it in three minutes.
#[test]
fn the_readme_is_short() {
    let words = read("README.md").split_whitespace().count();
    assert!(words <= 800, "README.md has {words} words");
}

/// The words in backticks of a text.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// A path in backticks that looks like one of ours exists: it has a slash, and starts with a folder
/// of the repository or of the library.
#[test]
fn folders_and_files_that_texts_name_exist() {
    let mut seen = 0;
    for text in
        ["ARCHITECTURE.md", "CONTRIBUTING.md", "README.md", "SECURITY.md", "docs/stability.md"]
    {
        for path in quoted(&read(text)) {
            let path = path.split([':', ' ', '(']).next().unwrap().trim_end_matches('*');
            let looks = path.contains('/')
                && !path.starts_with(['/', '.', '~', '-', '{'])
                && path.chars().all(|c| c.is_ascii_alphanumeric() || "/_-.".contains(c));
            let top = path.split('/').next().unwrap();
            let ours = root().join(top).exists();
            let inside = root().join("crates/ctnetlink/src").join(top).exists();
            // What is built is not there in a fresh checkout.
            if !looks || !(ours || inside) || top == "target" {
                continue;
            }
            seen += 1;
            let there = [root().join(path), root().join("crates/ctnetlink/src").join(path)];
            assert!(there.iter().any(|path| path.exists()), "{text} names {path}");
        }
    }
    assert!(seen > 20, "{seen} paths");
}

/// The links of a text to files of the repository.
#[test]
fn links_lead_somewhere() {
    let mut seen = 0;
    let mut texts = files("docs", &[".md"]);
    texts.extend(
        ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"]
            .map(Into::into),
    );
    texts.extend(["benches/RESULTS.md", "python/README.md"].map(Into::into));
    for text in texts {
        for link in read(&text).split("](").skip(1) {
            let link = link.split([')', '#']).next().unwrap();
            if link.is_empty() || link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            seen += 1;
            let path = root().join(text.parent().unwrap_or(Path::new(""))).join(link);
            assert!(path.exists(), "{} links to {link}", text.display());
        }
    }
    assert!(seen > 10, "{seen} links");
}

/// The front page of the documentation links to pages of source text that exist.
#[test]
fn source_links_of_the_front_page_lead_somewhere() {
    let page = read("crates/ctnetlink/src/lib.rs");
    let links: Vec<_> = page.split("(../src/ctnetlink/").skip(1).collect();
    assert!(links.len() >= 2, "{} links", links.len());
    for link in links {
        let path = link.split(".html)").next().unwrap();
        assert!(root().join("crates/ctnetlink/src").join(path).exists(), "{path}");
    }
}

/// The tests that ARCHITECTURE names by their path.
#[test]
fn tests_named_in_the_architecture_exist() {
    let mut sources = files("crates/ctnetlink/src", &[".rs"]);
    sources.extend(files("tests", &[".rs"]));
    let sources: Vec<String> = sources.iter().map(read).collect();
    let text = read("ARCHITECTURE.md");
    let mut seen = 0;
    for name in quoted(&text).filter_map(|path| path.rsplit_once("::")).map(|(_, name)| name) {
        if name.matches('_').count() < 3 {
            continue;
        }
        let function = format!("fn {name}(");
        assert!(sources.iter().any(|source| source.contains(&function)), "{name}");
        seen += 1;
    }
    assert!(seen >= 7, "{seen} tests");
}

/// Numbers of sections, such as 4.6, in the order of the text.
fn sections() -> Vec<String> {
    let facts = read(FACTS);
    let headings = facts.lines().filter_map(|line| line.strip_prefix("##"));
    let number = |heading: &str| {
        heading.trim_start_matches('#').split_whitespace().next().unwrap().to_owned()
    };
    headings.map(|heading| number(heading).trim_end_matches('.').to_owned()).collect()
}

/// A comment that cites a fact cites one that is there, and no other document.
#[test]
fn cited_facts_exist() {
    let sections = sections();
    assert!(sections.len() > 30, "{sections:?}");
    let mut cited = 0;
    for path in files("", &[".rs", ".md", ".py", ".pyi"]) {
        if path == Path::new(FACTS) || path.ends_with("repository/texts.rs") {
            continue;
        }
        let text = read(&path);
        for word in ["Chapter", "chapter ", "[S]", "notes of the kernel", "kernel-interface notes"]
        {
            assert!(!text.contains(word), "{}: {word:?}", path.display());
        }
        for citation in text.split("kernel-interface.md, ").skip(1) {
            let number: String =
                citation.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
            let number = number.trim_end_matches('.');
            if number.is_empty() {
                continue; // a list of documents
            }
            assert!(sections.iter().any(|s| s == number), "{} cites {number}", path.display());
            cited += 1;
        }
    }
    assert!(cited > 20, "{cited} citations");
}

/// A fact that names a test names one that exists.
#[test]
fn tests_behind_facts_exist() {
    let facts = read(FACTS);
    let mut seen = 0;
    let unit: Vec<String> = files("crates/ctnetlink/src", &[".rs"]).iter().map(read).collect();
    for name in facts.split('[').skip(1).filter_map(|rest| rest.split(']').next()) {
        let found = match (name.strip_prefix("unit: "), name.split_once("::")) {
            (Some(test), _) => unit.iter().any(|text| text.contains(&format!("fn {test}("))),
            (None, Some((file, test))) => {
                let path = root().join("tests/kernel").join(file).with_extension("rs");
                path.exists()
                    && read(format!("tests/kernel/{file}.rs")).contains(&format!("fn {test}("))
            }
            _ => continue,
        };
        assert!(found, "{FACTS} names {name}");
        seen += 1;
    }
    assert!(seen > 60, "{seen} tests");
}
