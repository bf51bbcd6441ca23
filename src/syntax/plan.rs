//! Plan files: TOML, version 1.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use toml::Spanned;

use crate::model::{Action, Diagnostic, Goal, Node, Plan, PlanRule};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: Spanned<u32>,
    #[serde(default)]
    rule: Vec<RuleIn>,
    #[serde(default)]
    resolved: BTreeMap<String, Vec<IpAddr>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleIn {
    action: Spanned<String>,
    from: Spanned<Vec<Spanned<String>>>,
    to: Spanned<Vec<Spanned<String>>>,
}

#[derive(Serialize)]
struct FileOut {
    version: u32,
    rule: Vec<RuleOut>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    resolved: BTreeMap<String, Vec<IpAddr>>,
}

#[derive(Serialize)]
struct RuleOut {
    action: &'static str,
    from: Vec<String>,
    to: Vec<String>,
}

/// Reads a plan; the error's message gives line and column.
pub fn read(text: &str) -> Result<Plan, Diagnostic> {
    let file: File = toml::from_str(text).map_err(|e| at(text, e.span().map_or(0, |s| s.start), e.message()))?;
    if *file.version.get_ref() != 1 {
        return Err(at(text, file.version.span().start, "unknown plan version; this program reads version = 1"));
    }
    let rules = file.rule.into_iter().map(|r| rule(text, r, &file.resolved)).collect::<Result<_, _>>()?;
    Ok(Plan { rules })
}

fn rule(text: &str, r: RuleIn, resolved: &BTreeMap<String, Vec<IpAddr>>) -> Result<PlanRule, Diagnostic> {
    let action = Action::parse(r.action.get_ref()).ok_or_else(|| {
        at(text, r.action.span().start, &format!("{} is not an action; use allow, drop or reject", r.action.get_ref()))
    })?;
    for (list, what) in [(&r.from, "from"), (&r.to, "to")] {
        if list.get_ref().is_empty() {
            return Err(at(text, list.span().start, &format!("{what} is empty; a rule needs at least one entry")));
        }
    }
    let from = r
        .from
        .into_inner()
        .into_iter()
        .map(|s| match Node::parse(s.get_ref()) {
            Ok(Node::Name(n, _)) => Ok(Node::Name(n.clone(), resolved.get(&n).cloned().unwrap_or_default())),
            other => other.map_err(|e| at(text, s.span().start, &e)),
        })
        .collect::<Result<_, _>>()?;
    let to =
        r.to.into_inner()
            .into_iter()
            .map(|s| Goal::parse(s.get_ref()).map_err(|e| at(text, s.span().start, &e)))
            .collect::<Result<_, _>>()?;
    Ok(PlanRule { action, from, to })
}

fn at(text: &str, offset: usize, message: &str) -> Diagnostic {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |l| l.chars().count()) + 1;
    Diagnostic::at(line, format!("line {line}, column {column}: {}", message.trim().replace('\n', "; ")))
}

/// Writes a plan that `read` turns into the same plan.
pub fn write(plan: &Plan) -> String {
    let mut resolved = BTreeMap::new();
    let rule = plan
        .rules
        .iter()
        .map(|r| RuleOut {
            action: r.action.word(),
            from: r
                .from
                .iter()
                .map(|n| {
                    if let Node::Name(name, addrs) = n
                        && !addrs.is_empty()
                    {
                        resolved.insert(name.clone(), addrs.clone());
                    }
                    n.to_string()
                })
                .collect(),
            to: r.to.iter().map(ToString::to_string).collect(),
        })
        .collect();
    toml::to_string(&FileOut { version: 1, rule, resolved }).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CURE: &str = "version = 1\n\n[[rule]]\naction = \"allow\"\nfrom = [\"192.0.2.11\", \"nfs1\"]\n\
        to = [\"portmapper\"]\n\n[[rule]]\naction = \"drop\"\nfrom = [\"any\"]\n\
        to = [\"portmapper\", \"published:9042/tcp\"]\n\n[resolved]\nnfs1 = [\"192.0.2.12\", \"2001:db8::12\"]\n";

    #[test]
    fn a_plan_comes_back_as_written() {
        let plan = read(CURE).unwrap();
        assert_eq!(plan.rules.len(), 2);
        assert_eq!(read(&write(&plan)).unwrap(), plan);
        assert_eq!(plan.rules[0].from[1].nets(crate::model::Family::V6).unwrap().len(), 1);
    }

    #[test]
    fn a_typo_has_line_and_column() {
        let e = read(&CURE.replace("\"drop\"", "\"dorp\"")).unwrap_err();
        assert!(e.line == 9 && e.message.starts_with("line 9, column 10: dorp is not an action"), "{e:?}");
        assert_eq!(read("version = 1\n[[rule]]\nacton = \"drop\"\n").unwrap_err().line, 3);
        assert_eq!(read("version = 2\n").unwrap_err().line, 1);
        assert!(
            read("version = 1\n[[rule]]\naction=\"drop\"\nfrom=[]\nto=[\"x\"]")
                .unwrap_err()
                .message
                .contains("from is empty")
        );
    }
}
