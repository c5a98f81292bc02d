/* SPDX-License-Identifier: Apache-2.0 */
#include "basic/text.h"
#include "cli/complete.h"

/*
 * bash splits words at '=', '@' and ':' (COMP_WORDBREAKS), so they are glued together again, and
 * candidates lose what stands before the part that bash will replace.
 */
static const char bash_script[] =
    "# bash completion for snapshotctl; made by `snapshotctl completion bash`\n"
    "_snapshotctl() {\n"
    "    local -a words=()\n"
    "    local i word raw glued=0 current cut line directive=:none\n"
    "    for ((i = 1; i <= COMP_CWORD; i++)); do\n"
    "        word=${COMP_WORDS[i]-}\n"
    "        if [[ ${#words[@]} -gt 0 && ( $word == [=@:]* || $glued == 1 ) ]]; then\n"
    "            words[${#words[@]}-1]+=$word\n"
    "        else\n"
    "            words+=(\"$word\")\n"
    "        fi\n"
    "        glued=0\n"
    "        [[ $word == *[=@:] ]] && glued=1\n"
    "    done\n"
    "    raw=${COMP_WORDS[COMP_CWORD]-}\n"
    "    [[ $raw == [=@:] ]] && raw=\n"
    "    current=${words[${#words[@]}-1]-}\n"
    "    cut=$((${#current} - ${#raw}))\n"
    "    COMPREPLY=()\n"
    "    while IFS= read -r line; do\n"
    "        case $line in\n"
    "            :*) directive=$line ;;\n"
    "            *) COMPREPLY+=(\"${line%%$'\\t'*}\") ;;\n"
    "        esac\n"
    "    done < <(\"${COMP_WORDS[0]}\" __complete -- \"${words[@]}\" 2>/dev/null)\n"
    "    for i in \"${!COMPREPLY[@]}\"; do\n"
    "        COMPREPLY[i]=${COMPREPLY[i]:cut}\n"
    "    done\n"
    "    case $directive in\n"
    "        :files) compopt -o filenames; COMPREPLY+=($(compgen -f -- \"$raw\")) ;;\n"
    "        :directories) compopt -o filenames; COMPREPLY+=($(compgen -d -- \"$raw\")) ;;\n"
    "        :programs) compopt -o filenames; COMPREPLY+=($(compgen -c -f -- \"$raw\")) ;;\n"
    "    esac\n"
    "}\n"
    "complete -F _snapshotctl snapshotctl\n";

static const char zsh_script[] =
    "#compdef snapshotctl\n"
    "# zsh completion for snapshotctl; made by `snapshotctl completion zsh`\n"
    "_snapshotctl() {\n"
    "    local line directive=:none\n"
    "    local -a candidates\n"
    "    while IFS= read -r line; do\n"
    "        case $line in\n"
    "            :*) directive=$line ;;\n"
    "            *)\n"
    "                local candidate=${line%%$'\\t'*} description=${line#*$'\\t'}\n"
    "                candidates+=(\"${candidate//:/\\\\:}${description:+:$description}\") ;;\n"
    "        esac\n"
    "    done < <(\"${words[1]}\" __complete -- \"${(@)words[2,CURRENT]}\" 2>/dev/null)\n"
    "    (( ${#candidates} )) && _describe -t values snapshotctl candidates\n"
    "    if [[ $directive != :none && $PREFIX == --*=* ]]; then\n"
    "        compset -P '*='\n"
    "    fi\n"
    "    case $directive in\n"
    "        :files) _files ;;\n"
    "        :directories) _files -/ ;;\n"
    "        :programs) _alternative 'commands:program:_command_names -e' 'files:file:_files' ;;\n"
    "    esac\n"
    "}\n"
    "if [[ ${funcstack[1]-} == _snapshotctl ]]; then\n"
    "    _snapshotctl \"$@\"\n"
    "else\n"
    "    compdef _snapshotctl snapshotctl\n"
    "fi\n";

static const char fish_script[] =
    "# fish completion for snapshotctl; made by `snapshotctl completion fish`\n"
    "function __snapshotctl_complete\n"
    "    set -l words (commandline -opc)\n"
    "    set -l current (commandline -ct)\n"
    "    set -l directive :none\n"
    "    for line in ($words[1] __complete -- $words[2..-1] \"$current\" 2>/dev/null)\n"
    "        if string match -q ':*' -- $line\n"
    "            set directive $line\n"
    "        else\n"
    "            echo $line\n"
    "        end\n"
    "    end\n"
    "    switch $directive\n"
    "        case :files\n"
    "            __fish_complete_path (string replace -r '^--[^=]*=' '' -- \"$current\")\n"
    "        case :directories\n"
    "            __fish_complete_directories (string replace -r '^--[^=]*=' '' -- \"$current\")\n"
    "        case :programs\n"
    "            __fish_complete_subcommand\n"
    "    end\n"
    "end\n"
    "complete -c snapshotctl -f -a '(__snapshotctl_complete)'\n";

const char *completion_script(const char *shell)
{
    if (text_equal(shell, "bash"))
        return bash_script;
    if (text_equal(shell, "zsh"))
        return zsh_script;
    if (text_equal(shell, "fish"))
        return fish_script;
    return NULL;
}
