# needs: bash
printf '%s\n' c a b | sort | tee sorted | tr a-z A-Z | paste -sd,
cat <<EOF
here $((6 * 7)) ${HOME##*/}
EOF
cat <<'EOF' | wc -l
one
two $unexpanded
EOF
cat <<< "a here-string"
diff <(printf '1\n2\n') <(printf '1\n3\n'); echo "diff: $?"
tee >(wc -c > counted) < sorted > /dev/null; sleep 0.3; cat counted
(cd /; pwd; exit 7); echo "subshell: $?"
set -o pipefail; false | true; echo "pipefail: $?"; set +o pipefail
x=$(printf 'a b  c'); set -- $x; echo $# "$2"
for ((i = 0; i < 200; i++)); do echo $i; done | while read -r n; do ((s += n)); [ "$n" = 199 ] && echo "sum $s"; done
exec 5> fifth; echo five >&5; exec 5>&-; cat fifth
mkfifo pipe; (echo through a fifo > pipe &); cat pipe
shopt -s extglob nullglob
touch f1 f2 g; echo !(f*) f? nothing*
coproc cat; echo co >&"${COPROC[1]}"; read -r line <&"${COPROC[0]}"; echo "$line"
no_such_program; echo "missing: $?"
/etc; echo "directory: $?"
