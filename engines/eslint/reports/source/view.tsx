export const View = ({ code }: { code: string }) => <b>{eval(code)}</b>;
