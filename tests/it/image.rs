//! The image can be built from what the builder is given: what `deploy/Dockerfile` copies is there, and is
//! not kept from it by `deploy/Dockerfile.dockerignore`.

use std::fs;
use std::path::Path;

const DOCKERFILE: &str = "deploy/Dockerfile";
const IGNORED: &str = "deploy/Dockerfile.dockerignore";

/// Whether the builder is given a path: of the lines that name it or a directory above it, the last one
/// decides.
fn is_given(path: &str, ignored: &str) -> bool {
    let lines = ignored.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut given = true;
    for line in lines {
        let (names, then) = line.strip_prefix('!').map_or((line, false), |names| (names, true));
        if Path::new(path).ancestors().any(|above| is_named(above, names)) {
            given = then;
        }
    }
    given
}

/// Whether a line names a path; a star stands for one name.
fn is_named(path: &Path, names: &str) -> bool {
    let (path, names) = (path.iter().collect::<Vec<_>>(), Path::new(names).iter().collect::<Vec<_>>());
    path.len() == names.len() && path.iter().zip(&names).all(|(part, name)| *name == "*" || part == name)
}

/// What each `COPY` takes from the context.
fn copied(dockerfile: &str) -> Vec<String> {
    let copies = dockerfile.lines().filter_map(|line| line.strip_prefix("COPY "));
    let copies = copies.filter(|copy| !copy.starts_with("--from"));
    copies
        .flat_map(|copy| copy.split(' ').collect::<Vec<_>>().split_last().unwrap().1.to_vec())
        .map(str::to_owned)
        .collect()
}

#[test]
fn what_the_image_is_built_from_is_given_to_the_builder() {
    let (dockerfile, ignored) =
        (fs::read_to_string(DOCKERFILE).unwrap(), fs::read_to_string(IGNORED).unwrap());
    let copied = copied(&dockerfile);
    assert!(copied.len() > 5, "only {copied:?} were found");
    for path in &copied {
        assert!(Path::new(path).exists(), "{DOCKERFILE} copies {path}, which is not there");
        assert!(is_given(path, &ignored), "{DOCKERFILE} copies {path}, which {IGNORED} keeps from it");
    }
    assert!(!is_given("docs/api.md", &ignored), "an edit of a page builds the image anew");
}

/// The pages are built apart from the rest, out of what is copied by name.
#[test]
fn what_the_pages_are_built_from_is_copied() {
    let dockerfile = fs::read_to_string(DOCKERFILE).unwrap();
    let copied = copied(&dockerfile);
    let generator = fs::read_to_string("ui/api.mjs").unwrap();
    let read = generator.split("${root}/../").skip(1).filter_map(|rest| rest.split('`').next());
    let read: Vec<&str> = read.collect();
    assert!(!read.is_empty(), "the generator of the pages reads nothing outside of them");
    for path in read {
        assert!(
            copied.iter().any(|copy| copy == path),
            "the pages are built from {path}, which is not copied"
        );
    }
}
