//! The operator's settings, for the cockpit and for the commands.

use super::note;
use crate::host::personal::Personal;
use crate::model::{Diagnostic, Whose};
use crate::tui::Config;
use crate::tui::theme::Theme;

/// The settings from the environment, the machine's `config.toml` and the operator's own; problems in them are reported
/// at once.
pub fn config() -> Config {
    let mut config = Config::usual(Theme::from_env(|n| std::env::var(n).ok()));
    for found in Personal::here().settings() {
        match found {
            Ok(found) => {
                config.take(&found.origin.path, &found.text);
                if let Whose::Other(_) = found.origin.whose {
                    config.of_others.push(found.origin.shown());
                }
            }
            Err(why) => config.remarks.push(Diagnostic::at(0, why)),
        }
    }
    for d in &config.remarks {
        note(format!("warning: {}", d.message));
    }
    for file in &config.of_others {
        note(format!("note: settings are read from: {file}"));
    }
    config
}
