#!/bin/sh
# Copies every table and file with what belongs to it; texts of tables become upper case, headers stay.
set -eu
cd "$KBC_DATADIR"

if ! grep -q '"shout": *true' config.json; then
    echo "The parameter shout must be true." >&2
    exit 1
fi

for source in in/tables/*; do
    [ -e "$source" ] || continue
    target="out/tables/${source##*/}"
    case "$source" in
        *.manifest) cp "$source" "$target" ;;
        *)
            if [ -d "$source" ]; then
                mkdir "$target"
                for slice in "$source"/*; do tr '[:lower:]' '[:upper:]' <"$slice" >"$target/${slice##*/}"; done
            else
                { head -n 1 "$source"; tail -n +2 "$source" | tr '[:lower:]' '[:upper:]'; } >"$target"
            fi
            ;;
    esac
done
for source in in/files/*; do
    [ -e "$source" ] || continue
    cp -R "$source" out/files/
done
echo "$KBC_COMPONENTID shouted."
