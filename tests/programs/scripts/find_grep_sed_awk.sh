# needs: bash find grep sed awk
mkdir -p d/{x,y}/{1,2}; for f in d/*/*; do echo "file in $f" > $f/t.txt; echo other > $f/o; done
find d -name '*.txt' | sort | xargs grep -c file
find d -type f -print0 | sort -z | xargs -0 -n 3 echo
find d -name o -delete; find d -type f -exec sed -i 's/file/FILE/' {} +; grep -r FILE d | sort
grep -rn --include='*.txt' -i 'file in d/x' d | sort; grep -v x <<< $'ax\nb'; grep -oE '[0-9]+' <<< 'a12b3'; echo "none: $(grep -c nothing /dev/null)"
sed -n '2,3p;$=' <(seq 5); sed -e 's/\(.\)\(.\)/\2\1/' <<< ab; sed '/b/{N;d}' <<< $'a\nb\nc\nd'
awk -F: '{ n[$2]++ } END { for (k in n) print k, n[k] | "sort" }' <<< $'a:x\nb:y\nc:x'
awk 'BEGIN { while (("seq 3" | getline l) > 0) s += l; print s; printf "%5.2f|%s\n", 3.14159, toupper("q") }'
find /usr/share/doc -maxdepth 1 -name 'b*' | sort | head -5; find /etc -maxdepth 1 -type l | sort | head -3
grep -rl root /etc/passwd /etc/group | sort; find . -newer d -name nothing; find d -empty; find d -perm -u+w -type d | wc -l
