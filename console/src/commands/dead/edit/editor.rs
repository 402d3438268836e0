//! Edits a text in the user's editor.

use std::path::Path;
use std::process::Command;

use anyhow::Context as _;
use common::bootstrap::Failure;

/// The command of `$VISUAL`, else of `$EDITOR`.
///
/// # Errors
/// Neither is set.
pub(super) fn command() -> Result<String, Failure> {
    let set = |name| std::env::var(name).ok().filter(|it| !it.trim().is_empty());
    set("VISUAL").or_else(|| set("EDITOR")).ok_or_else(|| {
        Failure::Usage(
            "expected an editor in VISUAL or EDITOR, or a patch in --patch FILE; found none of them"
                .to_owned(),
        )
    })
}

/// Lets the user edit `text` in `editor`, and returns the new text. The text is in a file that only this user can
/// read. The file's folder is removed afterwards, with everything that the editor left there.
///
/// # Errors
/// The file cannot be written or read, or the editor cannot be started or says that it failed.
pub(super) fn edit(editor: &str, text: &str) -> Result<String, anyhow::Error> {
    let folder = tempfile::Builder::new()
        .prefix("longshore-edit-")
        .tempdir()
        .context("cannot make a temporary folder")?;
    let path = folder.path().join("body.json");
    write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    // Through a shell, as git does it: the variable may hold arguments ("code --wait").
    let status = Command::new("sh")
        .args(["-c", &format!("{editor} \"$1\""), "sh"])
        .arg(&path)
        .status()
        .with_context(|| format!("cannot start the editor {editor:?}"))?;
    anyhow::ensure!(
        status.success(),
        "the editor {editor:?} ended with {status}, so nothing was changed"
    );
    std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read what the editor left in {}", path.display()))
}

fn write(path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;

    let mut options = std::fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_editor_may_have_arguments_and_leave_files_which_are_gone_then() {
        let editor = r#"f() { ls -ln "$2" "$2/.." > "$2.seen"; sed -i "s/$1/b/" "$2"; cat "$2.seen" >> "$2"; }; f a"#;
        let edited = edit(editor, "a").unwrap();
        let (text, seen) = edited.split_at(1);
        assert_eq!(text, "b");
        assert!(seen.contains("-rw-------"), "{seen}");
        let path = seen
            .split_whitespace()
            .find(|word| word.ends_with("body.json"));
        assert!(path.is_some_and(|path| !Path::new(path).exists()), "{seen}");
    }

    #[test]
    fn an_editor_that_fails_changes_nothing() {
        let error = edit("false", "a").unwrap_err().to_string();
        assert!(error.contains("nothing was changed"), "{error}");
    }
}
