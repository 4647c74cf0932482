# needs: gcc make
for i in 1 2 3 4 5 6; do echo "int f$i(int x) { return x + $i; }" > f$i.c; done
{ for i in 1 2 3 4 5 6; do echo "int f$i(int);"; done; echo '#include <stdio.h>'; echo '#include <pthread.h>'; echo 'static void *run(void *p) { *(int *)p = f1(f2(f3(f4(f5(f6(0)))))); return 0; } int main(void) { int v; pthread_t t; pthread_create(&t, 0, run, &v); pthread_join(t, 0); printf("%d\n", v); return v == 21 ? 0 : 1; }'; } > main.c
printf 'OBJS = main.o f1.o f2.o f3.o f4.o f5.o f6.o\nprog: $(OBJS)\n\tgcc -o $@ $^ -lpthread\n%%.o: %%.c\n\tgcc -O2 -Wall -c -o $@ $<\nclean:\n\trm -f *.o prog\n' > Makefile
make -s -j4 && ./prog; echo "exit $?"; make -s; touch f3.c; make -n | grep -c gcc; echo 'int broken(' > bad.c; gcc -c bad.c 2>&1 | grep -c error
gcc -static -o static main.c f?.c -lpthread && ./static; gcc -g -fsanitize=undefined -x c - -o ub <<< 'int main(int c, char **v) { return (c << 1) - 2; }' && ./ub; echo "ub $?"
make -s clean; rm -f static ub; ls
