//! What may be said of a text that does not tell everything.

use super::{Analysis, Packet, Trace, Verdict};
use crate::model::{Proto, View};
use crate::observe::capture::{Input, captured};

fn paste(text: &str) -> View {
    captured(&[Input { name: "paste".into(), text: text.into(), family: None }])
}

/// A new TCP connection of a stranger to a port.
fn ask(text: &str, port: u16) -> Trace {
    Analysis::new(&paste(text)).trace(&Packet::new([198, 51, 100, 7].into(), Proto::TCP, Some(port)))
}

#[test]
fn nothing_gets_in_where_the_filter_table_is_not_shown() {
    let others = "*nat\n:PREROUTING ACCEPT [0:0]\nCOMMIT\n*mangle\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n\
        -A PREROUTING -p tcp --dport 80 -j DROP\nCOMMIT\n";
    assert_eq!(ask(others, 81).verdict, Verdict::Depends);
    assert!(ask(others, 81).why.contains("the filter table is not in the text"));
    assert_eq!(ask(others, 80).verdict, Verdict::Drop, "what is shown is certain");
}

#[test]
fn a_heading_is_no_table_that_hides_the_rules() {
    for heading in ["**Manager 1**", "*** rules ***", "* first host"] {
        let text = format!("{heading}\n-P INPUT DROP\n-P FORWARD DROP\n-P OUTPUT ACCEPT\n");
        assert_eq!(ask(&text, 80).verdict, Verdict::Drop, "{heading}");
    }
    let list = "* `-P INPUT ACCEPT`\n* `-A INPUT -p tcp -m tcp --dport 80 -j DROP`\n* `-P FORWARD DROP`\n";
    assert_eq!(ask(list, 80).verdict, Verdict::Drop);
}
