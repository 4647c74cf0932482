# needs: bash tar gzip xz
mkdir -p t/sub; seq 1000 > t/numbers; head -c 100000 /dev/zero > t/zeros; ln -s numbers t/link; ln t/numbers t/sub/hard; chmod 600 t/zeros
tar cf plain.tar t; tar czf t.tgz t; tar cJf t.txz t
for f in plain.tar t.tgz t.txz; do mkdir out; tar xf $f -C out; diff -r t out/t && stat -c '%n %a %h' out/t/* | sort; rm -r out; done
tar tvf t.tgz | awk '{ print $1, $3, $6 }' | sort
gzip -k t/numbers -c | gunzip | cmp - t/numbers && echo gzip; xz -9 -c t/zeros | xz -d | cmp - t/zeros && echo xz
gzip -l <(gzip < t/numbers) 2>&1 | wc -l; zcat t.tgz | tar t | sort; tar cf - t | (mkdir piped; cd piped; tar xf -); diff -r t piped/t && echo piped
tar --sparse -cf sparse.tar t/zeros; tar xOf sparse.tar | md5sum; rm -f t.tgz t.txz plain.tar sparse.tar
