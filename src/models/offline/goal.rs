//! From the user's words to a wish that rules can fulfil, or to none.
//!
//! Every pattern must match the whole goal: what is left over could change its meaning, and
//! a goal that is understood by half is worse than one that is refused.

use super::phrase::{FILE, Masked, URL, captures, glob_of_language, is_quoted};
use super::scope::{Scope, directory_of};
use super::search::Search;

/// What is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wish {
    pub(super) subject: Subject,
    pub(super) outcome: Outcome,
}

/// What the goal is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Subject {
    Find {
        search: Search,
        scope: Scope,
        count: bool,
    },
    /// Files or directories, with the lines of files if these are to be counted.
    List {
        scope: Scope,
        only: &'static str,
        lines: bool,
        count: bool,
    },
    Lines {
        path: String,
    },
    Read {
        paths: Vec<String>,
    },
    Fetch {
        urls: Vec<String>,
    },
    Compare {
        left: String,
        right: String,
    },
    Calculate {
        expression: String,
    },
    Clock,
}

/// What happens with the result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It is the answer.
    Answer,
    /// It is written to a file; to one named after the subject if the goal names none.
    Report(Option<String>),
}

const ALL: &str = r"(?:(?:me|all|every|each|any|the|of|a list of|a|an|out|there) )*";
const INSIDE: &str = "(?:in|under|within|inside|across|throughout|from|of|below)";
/// Longer goals say more than one thing, in bytes; the limit also bounds what matching costs.
const LONGEST_GOAL: usize = 2000;

/// Understands a goal; `None` if it is outside of the family.
pub(super) fn understand(goal: &str) -> Option<Wish> {
    if goal.len() > LONGEST_GOAL {
        return None;
    }
    let masked = Masked::new(goal);
    let polite = "(?:(?:please|kindly|can you|could you|would you|i want you to|i want to|\
        i would like you to|i'd like you to|i'd like to|help me|let's|now|hey|hi|\
        hello)[, ]+)*(.+?)(?:,? (?:please|for me|thanks|thank you))*[ .!?]*";
    let core = captures(polite, &masked.text)?.pop()?;
    let (core, ending) = split_ending(&core);
    let core = core.as_str();
    let understood = match ending {
        Some(ending) => {
            let (outcome, counts) = ending_outcome(&ending, &masked)?;
            subject(core, &masked).and_then(|found| counted(found, counts)).map(|found| (found, outcome))
        }
        None => report_of(core, &masked)
            .or_else(|| fetch_into(core, &masked))
            .or_else(|| subject(core, &masked).map(|subject| (subject, Outcome::Answer))),
    };
    understood.map(|(subject, outcome)| Wish { subject, outcome })
}

/// Splits "… and write a report" off.
fn split_ending(goal: &str) -> (String, Option<String>) {
    let verbs = "write|save|create|generate|make|produce|prepare|compose|compile|put|store|report|\
        print|show|tell|count|list|give";
    let pattern = format!("(.+?)(?:,? and(?: then)?|,? then|;|,) ((?:{verbs})(?: .*)?)");
    match captures(&pattern, goal).as_deref() {
        Some([core, ending]) => (core.clone(), Some(ending.clone())),
        _ => (goal.to_owned(), None),
    }
}

/// What the ending asks for, and whether it asks for a count.
fn ending_outcome(ending: &str, masked: &Masked) -> Option<(Outcome, bool)> {
    let it = "(?:it|them|that|this|everything|the (?:results?|findings|output|list|matches|answer|\
        body|page|contents?|number|count|total|differences?)|results|findings|what you (?:find|\
        found))";
    if captures(&format!("(?:count {it}|(?:tell me|report|show) how many(?: there are| you find)?)"), ending)
        .is_some()
    {
        return Some((Outcome::Answer, true));
    }
    if captures(&format!("(?:report|print|show|tell|list|give)(?: me)?(?: {it})?(?: back| here)?"), ending)
        .is_some()
    {
        return Some((Outcome::Answer, false));
    }
    let what = format!(
        "(?:{it}|(?:(?:a|an|the|one|short|brief|small|nice|markdown|summary|text|full|\
            detailed) )*(?:report|file|summary|list|overview)(?: (?:about|of|on|with|from|for|\
            listing) {it})?)"
    );
    let place = format!(
        "(?: (?:to|in|into|as|at|called|named|under)(?: (?:a|the))?(?: (?:new|markdown|\
            text))?(?: (?:file|report))?(?: (?:called|named))?(?: ({FILE}))?)?"
    );
    let groups = captures(
        &format!(
            "(?:write|save|create|generate|make|produce|prepare|compose|compile|put|store|report|\
                give me)(?: me)?(?: {what})?{place}(?: in (?:this|the) (?:workspace|repository|\
                repo|directory|folder))?"
        ),
        ending,
    )?;
    let file = groups.first().filter(|file| !file.is_empty()).map(|file| masked.unmask(file));
    Some((Outcome::Report(file), false))
}

fn counted(subject: Subject, counts: bool) -> Option<Subject> {
    match subject {
        subject if !counts => Some(subject),
        Subject::Find { search, scope, .. } => Some(Subject::Find { search, scope, count: true }),
        Subject::List { scope, only, lines, .. } => Some(Subject::List { scope, only, lines, count: true }),
        _ => None,
    }
}

/// "Write a report of all TODO comments to notes.md".
fn report_of(core: &str, masked: &Masked) -> Option<(Subject, Outcome)> {
    let groups = captures(
        &format!(
            "(?:write|create|generate|make|produce|prepare|compose|give me)(?: me)? (?:(?:a|an|\
                the|short|brief|markdown|summary) )*(?:report|list|overview) (?:of|on|about|with|\
                listing|that lists|containing|for) (.+?)(?: (?:to|into|\
                as)(?: the file)? ({FILE}))?"
        ),
        core,
    )?;
    let [about, file] = groups.as_slice() else { return None };
    let file = Some(file).filter(|file| !file.is_empty()).map(|file| masked.unmask(file));
    let subject =
        find(&format!("find {about}"), masked).or_else(|| list(&format!("list {about}"), masked))?;
    Some((subject, Outcome::Report(file)))
}

/// "Download https://… to page.html".
fn fetch_into(core: &str, masked: &Masked) -> Option<(Subject, Outcome)> {
    let groups = captures(&format!("(.+{URL}) (?:to|into|as|in)(?: the file)? ({FILE})"), core)?;
    let [fetching, file] = groups.as_slice() else { return None };
    Some((fetch(fetching)?, Outcome::Report(Some(masked.unmask(file)))))
}

fn subject(core: &str, masked: &Masked) -> Option<Subject> {
    clock(core)
        .or_else(|| calculate(core))
        .or_else(|| compare(core, masked))
        .or_else(|| fetch(core))
        .or_else(|| count(core, masked))
        .or_else(|| read(core, masked))
        .or_else(|| list(core, masked))
        .or_else(|| find(core, masked))
}

fn clock(core: &str) -> Option<Subject> {
    captures(
        "(?:(?:what(?:'s| is)|tell me|show me|show|get) (?:the )?(?:current |exact )?(?:time|\
        date)(?: and (?:the )?(?:date|time))?|what (?:time|day|date) is it|(?:what(?:'s| is) )?today's date|\
        what is today)(?: now| right now| today)?",
        core,
    )
    .map(|_| Subject::Clock)
}

fn calculate(core: &str) -> Option<Subject> {
    let words = "(?:(?:what is|what's|calculate|compute|evaluate|how much is|\
        work out)(?: the (?:value|result) of)? )?";
    let expression = r"((?:[\d\s.()+*/^%-]|sqrt|sin|cos|tan|ln|exp|abs)*)";
    let found = captures(&format!("{words}{expression}"), core)?.pop()?;
    let is_sum =
        found.contains(|c: char| c.is_ascii_digit()) && found.contains(['+', '-', '*', '/', '^', '%', '(']);
    is_sum.then(|| Subject::Calculate { expression: found.trim().to_owned() })
}

fn compare(core: &str, masked: &Masked) -> Option<Subject> {
    let thing = format!("({URL}|{FILE})");
    let verb = "(?:compare|diff|(?:what(?:'s| is| are)|show|show me|find|tell me|\
        list) (?:the )?differences? between|what differs between)";
    let groups = captures(
        &format!(
            "{verb}(?: the)?(?: (?:files|pages|contents of))? {thing} (?:and|with|to|against|\
                vs\\.?|versus) {thing}"
        ),
        core,
    )?;
    let [left, right] = groups.as_slice() else { return None };
    Some(Subject::Compare { left: masked.unmask(left), right: masked.unmask(right) })
}

fn fetch(core: &str) -> Option<Subject> {
    let verb = "(?:fetch|download|get|read|retrieve|load|open|show|show me|save|request|report(?: on)?)";
    let what = "(?: the)?(?: (?:web ?)?(?:pages?|files?|documents?|contents?|urls?|sites?|\
        websites?|data|text))?(?: (?:of|at|from|on))?";
    let groups = captures(&format!("{verb}{what} ({URL}(?:(?:, and|,| and) {URL})*)"), core)?;
    let urls = groups.first()?.split([' ', ',']).filter(|word| word.starts_with("http")).map(str::to_owned);
    Some(Subject::Fetch { urls: urls.collect() })
}

fn count(core: &str, masked: &Masked) -> Option<Subject> {
    let of = r"(?: of (?:(\S+) )?(?:code|text|files?))?";
    let have = format!("how many lines{of} (?:does|do|has|have) (.+?)(?: (?:have|has|contain|count))?");
    if let Some([kind, place]) = captures(&have, core).as_deref() {
        return lines(kind, place, masked);
    }
    let number = r"(?:(?:(?:what is|what's|tell me|report|count|get) )?(?:the )?number of|count|how many)";
    let place = format!(" {INSIDE} (.+?)(?: (?:have|has|contain))?");
    let of_lines = format!(
        "{number}(?: of)?(?: (?:the|all|all the))? lines{of}(?: (?:are|is|are there|there are))?{place}"
    );
    if let Some([kind, place]) = captures(&of_lines, core).as_deref() {
        return lines(kind, place, masked);
    }
    let groups = captures(
        "(?:(?:(?:what is|what's|tell me|report|count|get) )?(?:the )?number of|count|\
            how many)(?: of)?(?: (?:the|all|all the|every|each))? (.+?)(?: (?:are|is|do we have|\
            exist|exists|are there|there are|can be found|occur|appear|does it have))*(?: (in|\
            under|within|inside|across|of|throughout) (.+?))?(?: (?:have|has|contain))?",
        core,
    )?;
    let [what, _, place] = groups.as_slice() else { return None };
    let place = if place.is_empty() { String::new() } else { format!(" in {place}") };
    let found =
        list(&format!("list {what}{place}"), masked).or_else(|| find(&format!("find {what}{place}"), masked));
    counted(found?, true)
}

/// The lines of a file, or of all files of a kind and place.
fn lines(kind: &str, place: &str, masked: &Masked) -> Option<Subject> {
    if let Some(path) = captures(&format!("(?:the file )?({FILE})"), place)
        && kind.is_empty()
        && !place.ends_with('/')
        && !masked.unmask(place).contains('*')
    {
        return Some(Subject::Lines { path: masked.unmask(path.first()?) });
    }
    let files = files_of_kind(kind, masked)?;
    let scope = Scope::read(place, masked)?;
    let scope = Scope { files: files.or(scope.files), directory: scope.directory };
    Some(Subject::List { scope, only: "files", lines: true, count: true })
}

fn read(core: &str, masked: &Masked) -> Option<Subject> {
    let verb = "(?:read|show|print|display|open|cat|view|output|get|give|type)";
    let what = "(?: me)?(?: the)?(?: (?:files?|whole file|contents?|text))?(?: of)?(?: the)?(?: files?)?";
    let groups = captures(&format!("{verb}{what} ({FILE}(?:(?:, and|,| and) {FILE})*)(?: file)?"), core)?;
    let paths = groups.first()?.replace(" and ", ",");
    let paths = paths.split(',').map(|path| masked.unmask(path.trim())).filter(|path| !path.is_empty());
    Some(Subject::Read { paths: paths.collect() })
}

fn list(core: &str, masked: &Masked) -> Option<Subject> {
    let verb = "(?:list|show|find|locate|enumerate|give|get|display|collect|what|which|report|search for)";
    let there = "(?: (?:are there|exist|are|there are))?";
    let within = format!("(?: {INSIDE} (.+))?");
    let files = "(?:files?|sources?|documents?|source files?)";
    let all = format!(
        "(?:(?:list|show)(?: me)? everything(?: {INSIDE} (.+))?|what(?:'s| is) {INSIDE} ((?:this|the|my) .+|here))"
    );
    if let Some([listed, asked]) = captures(&all, core).as_deref() {
        let scope = Scope::read(if listed.is_empty() { asked } else { listed }, masked)?;
        return Some(Subject::List { scope, only: "both", lines: false, count: false });
    }
    let directories = format!(
        "{verb} {ALL}(?:directories|directory|folders?|sub-?directories|sub-?folders?){there}{within}"
    );
    if let Some([place]) = captures(&directories, core).as_deref() {
        let scope = Scope::read(place, masked)?;
        return Some(Subject::List { scope, only: "directories", lines: false, count: false });
    }
    let patterns = [
        format!(r"{verb} {ALL}(?:(\S+) )?{files}{there}{within}"),
        format!(
            "{verb} {ALL}{files} (?:ending (?:in|with)|with (?:the )?(?:extension|ending|suffix)|\
                matching|named|called|of type) (\\S+){there}{within}"
        ),
        format!(r"{verb} {ALL}(\S*\*\S*){there}{within}"),
        format!("(?:find|locate|where is|search for) (?:the )?(?:file )?({FILE})()"),
    ];
    for (position, pattern) in patterns.iter().enumerate() {
        let Some(groups) = captures(pattern, core) else { continue };
        let [kind, place] = groups.as_slice() else { continue };
        // A quoted phrase alone is text to search for, unless it is called a file.
        if position == 3 && is_quoted(kind) && !core.contains("file ") {
            continue;
        }
        let Some(files) = files_of_kind(kind, masked) else { continue };
        let scope = Scope::read(place, masked)?;
        let directory = scope.directory.or_else(|| directory_of(files.as_deref()?));
        let scope = Scope { files: files.or(scope.files), directory };
        return Some(Subject::List { scope, only: "files", lines: false, count: false });
    }
    None
}

/// The glob for a word before "files": none for "source", `**/*.rs` for "Rust".
fn files_of_kind(kind: &str, masked: &Masked) -> Option<Option<String>> {
    let kind = masked.unmask(kind);
    if kind.is_empty() || ["source", "regular", "project"].contains(&kind.to_lowercase().as_str()) {
        return Some(None);
    }
    if let Some(glob) = glob_of_language(&kind) {
        return Some(Some(glob));
    }
    let is_name = kind.contains(['.', '*', '/']) && !kind.contains(' ');
    is_name.then(|| Some(if kind.contains('/') { kind } else { format!("**/{kind}") }))
}

fn find(core: &str, masked: &Masked) -> Option<Subject> {
    if let Some(groups) = captures("(?:search|grep|scan|look)(?: through| in)? (.+?) for (.+)", core)
        && let [place, what] = groups.as_slice()
        && let (Some(scope), Some(search)) = (Scope::read(place, masked), Search::read(what, masked))
    {
        return Some(Subject::Find { search, scope, count: false });
    }
    // What files mention, or grep is given, is a text, however plain the word is.
    let files =
        "(?:which|what|find|list|show|search for)(?: me)?(?: all| the| every)* files?(?: that| which)?";
    let mention = "(?:contains?|mentions?|uses?|includes?|containing|mentioning|using|including)";
    let text = "(?: the)?(?: (?:word|text|string|phrase|term))?";
    let plain = format!(r"(?:{files} {mention}|grep(?: for)?){text} (\S+)(?: (?:{INSIDE} )?(.+))?");
    if let Some([word, place]) = captures(&plain, core).as_deref()
        && let Some(scope) = Scope::read(place, masked)
    {
        return Some(Subject::Find { search: Search::literal(word, masked), scope, count: false });
    }
    let verb = "(?:find|search(?: for)?|look(?: up| for)|locate|grep(?: for)?|show|list|collect|\
        gather|report(?: on| about| of)?|get|give|where (?:is|are|do we use)|what|which files (?:contain|mention|\
        use)|are there|is there)";
    let within = "(?:in|under|within|inside|across|throughout|from|below)";
    for split in [format!("{verb} {ALL}(.+?) {within} (.+)"), format!("{verb} {ALL}(.+)()")] {
        let Some(groups) = captures(&split, core) else { continue };
        let [what, place] = groups.as_slice() else { continue };
        if let (Some(search), Some(scope)) = (Search::read(what, masked), Scope::read(place, masked)) {
            return Some(Subject::Find { search, scope, count: false });
        }
    }
    None
}
