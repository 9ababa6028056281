//! `tidegate completion` and `tidegate man`.

use std::process::Stdio;

use testkit::soon;
use tokio::io::AsyncWriteExt;

use super::{run, stderr, stdout};

#[tokio::test]
async fn bash_completes_commands_and_options_with_the_generated_script() {
    let script = stdout(&run(&["completion", "bash"], &[]).await);
    let ask = r#"
        complete_line() {
            COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
            _tidegate "$1" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
            echo "${COMPREPLY[@]}"
        }
        complete_line tidegate sub
        complete_line tidegate publish --allow
        complete_line tidegate completion z
    "#;
    let mut bash = tokio::process::Command::new("bash");
    bash.args(["--norc", "-s"]).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut bash = bash.spawn().expect("bash is installed");
    let mut stdin = bash.stdin.take().expect("stdin is piped");
    stdin
        .write_all([script.as_bytes(), ask.as_bytes()].concat().as_slice())
        .await
        .expect("bash reads the script");
    drop(stdin);
    let ended = soon("bash to end", bash.wait_with_output()).await.expect("bash ends");
    assert_eq!(stdout(&ended), "subscribe\n--allow-empty\nzsh\n");
}

#[tokio::test]
async fn completion_prints_a_script_for_each_shell_and_refuses_unknown_shells() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ended = run(&["completion", shell], &[]).await;
        assert_eq!(ended.status.code(), Some(0), "{}", stderr(&ended));
        assert!(stdout(&ended).contains("allow-empty"), "{shell}");
    }
    let ended = run(&["completion", "cmd"], &[]).await;
    assert_eq!(ended.status.code(), Some(2));
    assert!(stderr(&ended).contains("powershell"), "{}", stderr(&ended));
}

#[tokio::test]
async fn man_prints_a_page_for_tidegate_and_for_each_command() {
    let page = stdout(&run(&["man"], &[]).await);
    for part in [".TH tidegate 1", "tidegate\\-publish(1)", "Exit codes"] {
        assert!(page.contains(part), "{part:?} is not in:\n{page}");
    }
    let page = stdout(&run(&["man", "publish"], &[]).await);
    for part in [".TH tidegate-publish 1", "allow\\-empty", ".SH EXAMPLES", "payload.bin"] {
        assert!(page.contains(part), "{part:?} is not in:\n{page}");
    }
    let ended = run(&["man", "dance"], &[]).await;
    assert_eq!(ended.status.code(), Some(2));
    assert_eq!(stderr(&ended).lines().count(), 1, "{}", stderr(&ended));
}

/// A shell's start-up files run `tidegate completion`, whatever the environment holds.
#[tokio::test]
async fn completion_and_man_succeed_with_an_invalid_configuration() {
    let faulty = [("TIDEGATE__NO_SUCH", "key")];
    for arguments in [&["completion", "bash"][..], &["man"]] {
        assert_eq!(run(arguments, &faulty).await.status.code(), Some(0));
    }
}
